package io.portllm.spark.internal.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What tasks of one process share. */
class ModelCacheTest {
  private static final class Thing implements AutoCloseable {
    private boolean closed;

    @Override
    public void close() {
      closed = true;
    }
  }

  private final ModelCache cache = new ModelCache();

  private ModelCache.Lease<Thing> lease(String run, String location) throws IOException {
    return cache.lease(run, Thing.class, location, Thing::new);
  }

  @Test
  void tasksOfOneJobShareWhatIsOpen() throws IOException {
    ModelCache.Lease<Thing> first = lease("job", "a");
    ModelCache.Lease<Thing> second = lease("job", "a");
    assertSame(first.get(), second.get());
    assertNotSame(first.get(), lease("later", "a").get());
    first.close();
    second.close();
    assertSame(first.get(), lease("job", "a").get());
    assertFalse(first.get().closed);
  }

  @Test
  void ofWhatIsUnusedTheOldestIsClosedAndNothingThatIsUsed() throws IOException {
    ModelCache.Lease<Thing> used = lease("job", "used");
    List<Thing> things = new ArrayList<>();
    for (int i = 0; i < ModelCache.MOST_IDLE + 2; i++) {
      ModelCache.Lease<Thing> lease = lease("job", "p" + i);
      things.add(lease.get());
      lease.close();
      lease.close();
    }
    assertFalse(used.get().closed);
    assertTrue(things.get(0).closed && things.get(1).closed);
    assertFalse(things.get(2).closed);
    assertEquals(ModelCache.MOST_IDLE + 1, cache.size());
  }

  @Test
  void whatCouldNotBeOpenedIsTriedAgain() throws IOException {
    assertThrows(IOException.class, () -> cache.lease("job", Thing.class, "a", () -> {
      throw new IOException("not now");
    }));
    assertFalse(lease("job", "a").get().closed);
  }
}
