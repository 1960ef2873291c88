package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A write that fails leaves what was there, nothing else, and says why. */
class FailureTest {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;

  @AfterEach
  void nothingIsLeft() throws IOException {
    assertEquals(List.of(), Trees.names(dir).stream().filter(name -> name.startsWith(".")).toList());
    assertEquals(List.of(), Trees.openFiles(dir));
    assertTrue(Thread.getAllStackTraces().keySet().stream().noneMatch(thread -> thread.getName().startsWith("portllm-")));
  }

  /** Several files of several chunks. */
  private static TestModel large() {
    TestModel model = new TestModel("large");
    for (int file = 0; file < 3; file++) {
      model.shard("model-" + file + ".safetensors", Map.of());
      model.tensor("t" + file, DType.BF16, new byte[10 * MIB], 5 * MIB);
    }
    return model.side("tokenizer.json", "{}");
  }

  private interface Failure {
    Throwable make();
  }

  private static Failure failure(String kind) {
    return switch (kind) {
      case "io" -> () -> new IOException("the disk is on fire");
      case "runtime" -> () -> new IllegalStateException("closed");
      case "error" -> () -> new OutOfMemoryError("no more");
      default -> () -> new Exception("checked, and thrown all the same");
    };
  }

  @SuppressWarnings("unchecked")
  private static <E extends Throwable> void sneak(Throwable e) throws E {
    throw (E) e;
  }

  @ParameterizedTest
  @ValueSource(strings = {"io", "runtime", "error", "checked"})
  void aReadThatFailsInTheMiddleLeavesNothing(String kind) throws IOException {
    for (int threads : new int[] {1, 4}) {
      for (int failing = 0; failing < 9; failing += 2) {
        AtomicInteger reads = new AtomicInteger();
        Throwable thrown = failure(kind).make();
        int turn = failing;
        TestModel model = large();
        model.onRead(
            (tensor, offset) -> {
              if (reads.getAndIncrement() == turn) {
                FailureTest.<RuntimeException>sneak(thrown);
              }
            });

        Throwable caught =
            assertThrows(Throwable.class, () -> Checkpoints.write(model, dir.resolve("out"), WriteOptions.defaults().withThreads(threads)));

        if (kind.equals("checked")) {
          assertEquals(IOException.class, caught.getClass());
          assertSame(thrown, caught.getCause());
        } else {
          assertSame(thrown, caught);
        }
        assertEquals(List.of(), Trees.names(dir));
      }
    }
  }

  @Test
  void anOldOutputSurvivesAFailure() throws IOException {
    Path folder = Trio.of(DType.F32).base().saveTo(dir.resolve("out"));
    Path file = Trio.of(DType.F32).base().saveFile(dir.resolve("out.safetensors"));
    Map<String, String> before = Trees.contents(dir);
    TestModel failing = new TestModel("m").tensor("t", DType.F32, new byte[12 * MIB], 3 * MIB);
    failing.onRead(
        (tensor, offset) -> {
          if (offset > 0) {
            throw new IOException("late");
          }
        });

    for (Path out : List.of(folder, file)) {
      IOException caught = assertThrows(IOException.class, () -> Checkpoints.write(failing, out, WriteOptions.defaults().overwriting()));
      assertEquals("late", caught.getMessage());
    }

    assertEquals(before, Trees.contents(dir));
  }

  @Test
  void theFirstFailureIsThrownAndLaterOnesAreAttached() {
    int threads = 3;
    CyclicBarrier together = new CyclicBarrier(threads);
    TestModel model = large();
    model.onRead(
        (tensor, offset) -> {
          try {
            together.await(30, TimeUnit.SECONDS);
          } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
            throw new AssertionError(e);
          }
          throw new IOException("in " + tensor.name() + " at " + offset);
        });

    IOException caught =
        assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve("out"), WriteOptions.defaults().withThreads(threads)));

    assertEquals(threads - 1, caught.getSuppressed().length, Arrays.toString(caught.getSuppressed()));
  }

  @Test
  void aListenerThatThrowsStopsTheWrite() throws IOException {
    for (boolean atStart : new boolean[] {true, false}) {
      IllegalStateException thrown = new IllegalStateException("the window was closed");
      ProgressListener listener =
          new ProgressListener() {
            @Override
            public void started(long totalBytes) {
              if (atStart) {
                throw thrown;
              }
            }

            @Override
            public void progressed(long doneBytes, long totalBytes) {
              throw thrown;
            }
          };
      for (int threads : new int[] {1, 4}) {
        WriteOptions options = WriteOptions.defaults().withProgress(listener).withThreads(threads);
        assertSame(thrown, assertThrows(IllegalStateException.class, () -> Checkpoints.write(large(), dir.resolve("out"), options)));
      }
    }
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void aQuestionThatThrowsStopsTheWrite() throws IOException {
    IllegalStateException thrown = new IllegalStateException("who asks");
    WriteOptions options =
        WriteOptions.defaults()
            .cancelledWhen(
                () -> {
                  throw thrown;
                });

    assertSame(thrown, assertThrows(IllegalStateException.class, () -> Checkpoints.write(large(), dir.resolve("out"), options)));
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void aVersionThatStopsShortIsRefused() throws IOException {
    TestModel whole = large();
    ModelVersion stopsShort =
        new ForwardingModel(whole) {
          @Override
          public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
            destination.limit(destination.limit() - 2);
            whole.read(tensor, offset, destination);
            destination.limit(destination.limit() + 2);
          }
        };

    IOException caught =
        assertThrows(IOException.class, () -> Checkpoints.write(stopsShort, dir.resolve("out"), WriteOptions.defaults().withThreads(1)));

    assertEquals("tensor 't0' of 'large' was not read to the end", caught.getMessage());
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void aSideFileThatCannotBeReadStopsTheWrite() throws IOException {
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
                  public InputStream open() throws IOException {
                    throw new IOException("gone");
                  }
                });
          }
        };

    assertEquals("gone", assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve("out"))).getMessage());
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void anInputThatWasRewrittenIsNoticedBeforeTheOutputAppears() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Path base = trio.base().saveTo(dir.resolve("base"));
    Path tuned = trio.fineTuned().saveTo(dir.resolve("tuned"));
    Path newer = trio.newBase().saveTo(dir.resolve("newer"));
    List<String> before = Trees.names(dir);

    for (Path input : List.of(base, tuned, newer)) {
      Path file = input.resolve("model.safetensors");
      FileTime past = FileTime.fromMillis(1_000_000_000_000L);
      Files.setLastModifiedTime(file, past);
      try (ModelVersion first = Checkpoints.open(base);
          ModelVersion second = Checkpoints.open(tuned);
          ModelVersion third = Checkpoints.open(newer)) {
        // The last moment before the check: all weights were read and written.
        ProgressListener atTheEnd =
            new ProgressListener() {
              @Override
              public void progressed(long doneBytes, long totalBytes) {
                try {
                  Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000_001_000L));
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              }
            };
        for (String name : List.of("out", "out.safetensors")) {
          Files.setLastModifiedTime(file, past);
          WriteOptions options = WriteOptions.defaults().withProgress(atTheEnd);
          IOException caught =
              assertThrows(IOException.class, () -> Checkpoints.write(Patch.from(second, first).applyTo(third), dir.resolve(name), options));
          assertTrue(caught.getMessage().startsWith("[" + file + "] the file changed since it was opened"), caught::getMessage);
          assertEquals(before, Trees.names(dir));
        }
      }
      // Opened anew, the file is as good as any.
      try (ModelVersion first = Checkpoints.open(base);
          ModelVersion second = Checkpoints.open(tuned);
          ModelVersion third = Checkpoints.open(newer)) {
        Checkpoints.write(Patch.from(second, first).applyTo(third), dir.resolve("out"));
      }
      deleteOutput();
    }
  }

  private void deleteOutput() throws IOException {
    for (String name : Trees.names(dir.resolve("out"))) {
      Files.delete(dir.resolve("out").resolve(name));
    }
    Files.delete(dir.resolve("out"));
  }

  @Test
  void overflowLeavesNothingUnlessItIsAllowed() throws IOException {
    TestModel base = new TestModel("b").tensor("w", DType.F16, TestModel.encode(DType.F16, 0, 1), 2);
    TestModel tuned = new TestModel("t").tensor("w", DType.F16, TestModel.encode(DType.F16, 40_000, 1), 2);
    TestModel newer = new TestModel("n").tensor("w", DType.F16, TestModel.encode(DType.F16, 50_000, 1), 2);
    Patch patch = Patch.from(tuned, base);

    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(patch.applyTo(newer), dir.resolve("out.safetensors")));
    assertEquals(
        "the patch does not fit 'n': tensor 'w': 1 weights left the range of F16 among elements 0 to 1 (allowed by overflow)",
        refusal.getMessage());
    assertEquals(List.of(), Trees.names(dir));

    WriteReport report =
        Checkpoints.write(patch.applyTo(newer, MergeOptions.defaults().allow(Allow.OVERFLOW)), dir.resolve("out.safetensors"));
    assertEquals(1, report.total().overflowed());
  }

  @Test
  void weightsThatBecomeNonFiniteLeaveNothing() throws IOException {
    TestModel base = new TestModel("b").tensor("w", DType.F32, TestModel.encode(DType.F32, 0, 1), 2);
    TestModel tuned = new TestModel("t").tensor("w", DType.F32, TestModel.encode(DType.F32, 0, Double.NaN), 2);

    assertThrows(
        IncompatibleModelException.class,
        () -> Checkpoints.write(Patch.from(tuned, base).applyTo(base, MergeOptions.defaults().allow(Allow.values())), dir.resolve("out")));
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void anIntegerTensorThatChangedLeavesNothing() throws IOException {
    TestModel base = new TestModel("b").tensor("ids", DType.I64, TestModel.encode(DType.I64, 1, 2), 2).random("w", DType.F32, 1, 1, 4);
    TestModel tuned = new TestModel("t").tensor("ids", DType.I64, TestModel.encode(DType.I64, 1, 3), 2).random("w", DType.F32, 2, 1, 4);
    Patch patch = Patch.from(tuned, base);

    assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(patch.applyTo(base), dir.resolve("out")));
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> PatchFile.write(patch, dir.resolve("p.safetensors")));

    assertEquals("'t' is no fine-tune of 'b': tensor 'ids': is of type I64, which must not change, but differs at byte 8",
        refusal.getMessage());
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void aModelThatNeedsMoreThanTheDiskHasIsRefusedAtOnce() throws IOException {
    AtomicInteger reads = new AtomicInteger();
    ModelVersion huge = new ComputedModel(1L << 55, reads);

    IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(huge, dir.resolve("out")));

    assertTrue(refusal.getMessage().startsWith("[" + dir.resolve("out") + "] needs " + (1L << 55) + " bytes, but the disk has "),
        refusal::getMessage);
    assertEquals(0, reads.get());
    assertEquals(List.of(), Trees.names(dir));
  }
}
