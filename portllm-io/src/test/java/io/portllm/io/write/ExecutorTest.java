package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Writing on the caller's threads. */
class ExecutorTest {
  private final Trio trio = Trio.of(DType.BF16);
  private final Set<String> readers = ConcurrentHashMap.newKeySet();
  private final ExecutorService pool = Executors.newFixedThreadPool(1, work -> new Thread(work, "the caller's"));

  @TempDir Path dir;

  @AfterEach
  void shutDown() {
    pool.shutdownNow();
  }

  /** A port whose new base notes who reads it. */
  private ModelVersion port() {
    ModelVersion watched =
        new ForwardingModel(trio.newBase()) {
          @Override
          public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
            readers.add(Thread.currentThread().getName());
            super.read(tensor, offset, destination);
          }
        };
    return Patch.from(trio.fineTuned(), trio.base()).applyTo(watched);
  }

  private byte[] written(String name, WriteOptions options) throws IOException {
    Path output = dir.resolve(name);
    Checkpoints.write(port(), output, options);
    return Files.readAllBytes(output.resolve("model.safetensors"));
  }

  @Test
  void allWorkIsDoneOnItsThreadsAndTheBytesAreTheSame() throws IOException {
    byte[] expected = written("own", WriteOptions.defaults());
    readers.clear();
    // More threads than the executor has: the pieces of work that never get one are not waited for.
    byte[] found = written("executor", WriteOptions.defaults().withExecutor(pool).withThreads(8));

    assertEquals(ByteBuffer.wrap(expected), ByteBuffer.wrap(found));
    assertEquals(Set.of("the caller's"), readers);
  }

  @Test
  void recordsAndVerificationUseItToo() throws IOException {
    WriteOptions options = WriteOptions.defaults().withExecutor(pool).recording();
    written("recorded", options);

    assertEquals(Set.of("the caller's"), readers);
    assertTrue(Verification.of(dir.resolve("recorded"), options).holds());
  }

  @Test
  void whatComesToRunAfterTheWriteDoesNothing() throws IOException {
    Queue<Runnable> late = new ArrayDeque<>();
    CountDownLatch first = new CountDownLatch(1);
    written(
        "late",
        WriteOptions.defaults()
            .withThreads(3)
            .withExecutor(
                work -> {
                  if (first.getCount() > 0) {
                    first.countDown();
                    pool.execute(work);
                  } else {
                    late.add(work);
                  }
                }));
    readers.clear();

    assertEquals(2, late.size());
    late.forEach(Runnable::run);
    assertEquals(Set.of(), readers);
  }

  @Test
  void anExecutorThatRefusesFailsTheWriteAndNothingIsLeft() throws IOException {
    pool.shutdown();

    assertThrows(RejectedExecutionException.class, () -> written("refused", WriteOptions.defaults().withExecutor(pool)));
    try (Stream<Path> left = Files.list(dir)) {
      assertEquals(0, left.count());
    }
  }

  @Test
  void interruptingTheCallerCancelsAndLeavesTheExecutorsThreadsAlone() throws Exception {
    Thread.currentThread().interrupt();

    assertThrows(CancellationException.class, () -> written("interrupted", WriteOptions.defaults().withExecutor(pool)));
    assertTrue(Thread.interrupted());
    assertFalse(pool.submit(() -> Thread.currentThread().isInterrupted()).get());
    assertFalse(Files.exists(dir.resolve("interrupted")));
  }
}
