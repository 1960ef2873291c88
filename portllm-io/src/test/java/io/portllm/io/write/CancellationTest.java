package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.SideFile;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Cancelling and interrupting stop a write, leave nothing and harm nobody else. */
class CancellationTest {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;

  @AfterEach
  void nothingIsLeft() throws IOException {
    assertFalse(Thread.interrupted(), "a test left the flag set");
    assertEquals(List.of(), Trees.names(dir).stream().filter(name -> name.startsWith(".")).toList());
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  private static TestModel large() {
    return new TestModel("large").tensor("t", DType.BF16, new byte[40 * MIB], 20 * MIB);
  }

  @Test
  void theQuestionIsAskedBeforeEachChunkAndStopsTheWrite() throws IOException {
    for (int turn = 0; turn < 10; turn++) {
      for (int threads : new int[] {1, 3}) {
        AtomicInteger asked = new AtomicInteger();
        int last = turn;
        WriteOptions options = WriteOptions.defaults().withThreads(threads).cancelledWhen(() -> asked.getAndIncrement() >= last);

        assertThrows(CancellationException.class, () -> Checkpoints.write(large(), dir.resolve("out"), options));

        assertEquals(turn + 1, asked.get());
        assertEquals(List.of(), Trees.names(dir));
      }
    }
    WriteOptions never = WriteOptions.defaults().cancelledWhen(() -> false);
    assertEquals(40L * MIB, Checkpoints.write(large(), dir.resolve("out"), never).bytes());
  }

  @Test
  void anInterruptBeforeTheWriteCancelsItAndStays() throws IOException {
    Trio trio = Trio.of(DType.F32);
    for (int threads : new int[] {1, 4}) {
      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () ->
          Checkpoints.write(large(), dir.resolve("out"), WriteOptions.defaults().withThreads(threads)));
      assertTrue(Thread.interrupted());

      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () ->
          PatchFile.write(Patch.from(trio.fineTuned(), trio.base()), dir.resolve("p.safetensors")));
      assertTrue(Thread.interrupted());
    }
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void anInterruptDuringTheWriteCancelsItAndStays() throws IOException {
    Thread caller = Thread.currentThread();
    for (int threads : new int[] {1, 4}) {
      CountDownLatch interrupted = new CountDownLatch(1);
      TestModel model = large();
      model.onRead(
          (tensor, offset) -> {
            caller.interrupt();
            interrupted.countDown();
          });

      assertThrows(CancellationException.class, () ->
          Checkpoints.write(model, dir.resolve("out"), WriteOptions.defaults().withThreads(threads)));

      assertTrue(Thread.interrupted());
      assertEquals(0, interrupted.getCount());
      assertEquals(List.of(), Trees.names(dir));
    }
  }

  @Test
  void anInterruptBetweenWeightsAndSideFilesCancelsTheWrite() throws IOException {
    ModelVersion model =
        new ForwardingModel(large()) {
          @Override
          public List<SideFile> sideFiles() {
            return List.of(
                new SideFile() {
                  @Override
                  public String name() {
                    return "config.json";
                  }

                  @Override
                  public InputStream open() {
                    Thread.currentThread().interrupt();
                    return new ByteArrayInputStream(new byte[] {'{', '}'});
                  }
                });
          }
        };

    assertThrows(CancellationException.class, () -> Checkpoints.write(model, dir.resolve("out")));

    assertTrue(Thread.interrupted());
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void anInterruptInTheLastMomentEitherCancelsOrLeavesAWholeOutput() throws IOException {
    ModelVersion model =
        new ForwardingModel(Trio.of(DType.F32).base()) {
          @Override
          public void verifyUnchanged() {
            Thread.currentThread().interrupt();
          }
        };

    Checkpoints.write(model, dir.resolve("out"));

    assertTrue(Thread.interrupted());
    try (ModelVersion written = Checkpoints.open(dir.resolve("out"))) {
      assertEquals(Fingerprint.of(model), Fingerprint.of(written));
    }
  }

  /** An interrupt closes the channel that the interrupted thread reads from; others share it. */
  @Test
  void anInterruptDoesNotHarmOtherUsersOfTheInputs() throws Exception {
    Trio trio = Trio.of(DType.F32);
    Path newer = trio.newBase().saveTo(dir.resolve("newer"));
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    try (ModelVersion shared = Checkpoints.open(newer)) {
      CountDownLatch started = new CountDownLatch(1);
      CountDownLatch goOn = new CountDownLatch(1);
      AtomicInteger cancelled = new AtomicInteger();
      ProgressListener listener =
          new ProgressListener() {
            @Override
            public void progressed(long doneBytes, long totalBytes) {
              started.countDown();
              try {
                goOn.await();
              } catch (InterruptedException e) {
                throw new AssertionError("a working thread was interrupted", e);
              }
            }
          };
      Thread victim =
          new Thread(
              () -> {
                try {
                  Checkpoints.write(patch.applyTo(shared), dir.resolve("victim"), WriteOptions.defaults().withProgress(listener));
                } catch (CancellationException e) {
                  cancelled.incrementAndGet();
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              });
      victim.start();
      started.await();
      victim.interrupt();
      Checkpoints.write(patch.applyTo(shared), dir.resolve("other"));
      goOn.countDown();
      victim.join();
      Checkpoints.write(patch.applyTo(shared), dir.resolve("later"));

      assertEquals(1, cancelled.get());
      assertEquals(List.of("later", "newer", "other"), Trees.names(dir));
      assertEquals(Trees.contents(dir.resolve("other")), Trees.contents(dir.resolve("later")));
    }
  }

  @Test
  void progressRisesToTheTotal() throws IOException {
    for (int threads : new int[] {1, 4}) {
      TestModel model = new TestModel("m").tensor("a", DType.U8, new byte[9 * MIB], 9 * MIB).tensor("b", DType.F32, new byte[4 * MIB], MIB);
      Recorder recorder = new Recorder();
      Checkpoints.write(model, dir.resolve("out" + threads), WriteOptions.defaults().withThreads(threads).withProgress(recorder));

      assertEquals(List.of(13L * MIB), recorder.totals);
      recorder.assertRisesTo(13L * MIB);
      assertTrue(recorder.done.size() > 2);
    }
  }

  @Test
  void bothPassesOfAPatchRiseToTheirTotals() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Recorder recorder = new Recorder();
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    PatchFile.write(patch, dir.resolve("p.safetensors"), WriteOptions.defaults().withProgress(recorder));

    assertEquals(2, recorder.totals.size());
    // Base for its digest, base and fine-tuned for the differences, base for its sketches.
    assertEquals(4 * trio.base().totalBytes(), recorder.totals.get(0));
    recorder.assertRisesTo(recorder.totals.get(0), recorder.totals.get(1));
    assertTrue(Files.size(dir.resolve("p.safetensors")) > recorder.totals.get(1));
  }

  /** Keeps all that it is told. */
  private static final class Recorder implements ProgressListener {
    final List<Long> totals = new ArrayList<>();
    final List<Long> done = new ArrayList<>();
    private final AtomicInteger inside = new AtomicInteger();

    @Override
    public void started(long totalBytes) {
      totals.add(totalBytes);
    }

    @Override
    public void progressed(long doneBytes, long totalBytes) {
      assertEquals(1, inside.incrementAndGet(), "calls overlap");
      assertEquals(totals.get(totals.size() - 1), totalBytes);
      done.add(doneBytes);
      inside.decrementAndGet();
    }

    /** Each total is reached once, after which the count may begin anew. */
    void assertRisesTo(long... ends) {
      int pass = 0;
      long last = 0;
      for (long value : done) {
        assertTrue(value >= last, () -> done.toString());
        last = value;
        if (value == ends[pass] && pass < ends.length - 1) {
          pass++;
          last = 0;
        }
      }
      assertEquals(ends.length - 1, pass, () -> done.toString());
      assertEquals(ends[pass], last, () -> done.toString());
    }
  }
}
