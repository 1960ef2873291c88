package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.io.Checkpoints;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.write.CheckpointWriter;
import io.portllm.io.internal.write.Disk;
import io.portllm.io.write.FaultyDisk.Fault;
import io.portllm.io.write.FaultyDisk.Halt;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Writes that go on where an earlier one stopped: the output and the report are those of a write that was never stopped. */
class ResumeTest {
  private static final List<String> FILES =
      List.of("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors");

  @TempDir Path dir;

  private Path base;
  private Path tuned;
  private Path newer;
  private Path out;
  private WriteReport expected;
  private Map<String, String> whole;

  @BeforeEach
  void makeModels() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    base = trio.base().saveTo(dir.resolve("base"));
    tuned = trio.fineTuned().saveTo(dir.resolve("tuned"));
    newer = trio.newBase().resharded(Trio.names(), 3).saveTo(dir.resolve("newer"));
    out = Files.createDirectory(dir.resolve("outputs")).resolve("out");
    Path plain = Files.createDirectory(dir.resolve("plain")).resolve("out");
    expected = write(plain, WriteOptions.defaults().recording(), unharmed(), 1);
    whole = Trees.contents(plain.getParent());
    assertTrue(expected.total().touched() > expected.total().vanished() && expected.total().vanished() > 0);
  }

  /** A disk that does all that it is asked for, and syncs nothing. */
  private static FaultyDisk unharmed() {
    return new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
  }

  private WriteOptions resuming() {
    return WriteOptions.defaults().withThreads(1).recording().resuming("all", base, tuned, newer);
  }

  private WriteReport write(Path target, WriteOptions options, Disk disk, double scale) throws IOException {
    try (ModelVersion one = Checkpoints.open(tuned);
        ModelVersion two = Checkpoints.open(base);
        ModelVersion three = Checkpoints.open(newer)) {
      return CheckpointWriter.write(Patch.from(one, two).scaledBy(scale).applyTo(three), target, options, disk);
    }
  }

  private WriteReport write(WriteOptions options, Disk disk) throws IOException {
    return write(out, options, disk, 1);
  }

  /** Dies once so many weight files are noted, the first line of the journal being that of the work. */
  private void dieAfter(int files) {
    FaultyDisk disk = new FaultyDisk(Fault.HALT, turn(files));
    assertThrows(Halt.class, () -> write(resuming(), disk));
  }

  /** The number of the operation after this file's line was forced: each is forced itself, and then its line. */
  private int turn(int files) {
    FaultyDisk disk = unharmed();
    try {
      write(dir.resolve("count"), resuming().overwriting(), disk, 1);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    int forces = 1 + 2 * files;
    for (int i = 0; i < disk.operations().size(); i++) {
      forces -= disk.operations().get(i).equals("force") ? 1 : 0;
      if (forces == 0) {
        return i + 1;
      }
    }
    throw new AssertionError(disk.operations());
  }

  private Path leftover() throws IOException {
    try (Stream<Path> paths = Files.list(out.getParent())) {
      return paths.filter(path -> path.toString().endsWith(".tmp")).findFirst().orElseThrow();
    }
  }

  /** The output and the counts are those of a write that was never stopped. */
  private void assertWhole(WriteReport report, List<String> takenOver) throws IOException {
    assertEquals(takenOver, report.takenOver());
    assertEquals(expected.rounding(), report.rounding());
    assertEquals(expected.tensors(), report.tensors());
    assertEquals(expected.bytes(), report.bytes());
    assertEquals(whole, Trees.contents(out.getParent()));
    assertTrue(Verification.of(out).holds());
  }

  @Test
  void finishedFilesOfADeadWriteAreTakenOver() throws IOException {
    for (int files = 0; files <= 3; files++) {
      dieAfter(files);
      WriteReport report = write(resuming(), unharmed());
      assertEquals(List.of(), report.notTakenOver());
      assertWhole(report, FILES.subList(0, files));
      Files.move(out, dir.resolve("done" + files));
    }
  }

  @Test
  void progressCountsWhatIsTakenOver() throws IOException {
    dieAfter(2);
    ProgressTally tally = new ProgressTally();
    write(resuming().withoutRecord().withProgress(tally), unharmed());
    assertEquals(expected.bytes(), tally.done);
    assertEquals(expected.bytes(), tally.total);
  }

  private static final class ProgressTally implements ProgressListener {
    private long done;
    private long total;

    @Override
    public void progressed(long bytes, long of) {
      assertTrue(bytes > done);
      done = bytes;
      total = of;
    }
  }

  @Test
  void aWriteMayDieAgainWhileItTakesOver() throws IOException {
    dieAfter(2);
    Path first = leftover();
    Path kept = dir.resolve("kept");
    copy(first, kept);
    FaultyDisk counting = unharmed();
    write(resuming(), counting);
    for (int turn = 0; turn < counting.operations().size(); turn++) {
      delete(out.getParent());
      Files.createDirectory(out.getParent());
      copy(kept, first);
      FaultyDisk dying = new FaultyDisk(Fault.HALT, turn);
      assertThrows(Halt.class, () -> write(resuming(), dying));
      int moves = (int) dying.operations().subList(0, turn).stream().filter("move"::equals).count();
      if (moves == 3) {
        // It was in place already: only its lock may be left.
        assertEquals(whole.get("out/" + FILES.get(0)), Trees.contents(out.getParent()).get("out/" + FILES.get(0)));
        continue;
      }
      WriteReport report = write(resuming(), unharmed());
      boolean journalIsGone = dying.operations().subList(0, turn).lastIndexOf("delete") > dying.operations().lastIndexOf("create");
      assertTrue(report.takenOver().size() >= 2 || journalIsGone, () -> "death before " + dying.operations());
      assertWhole(report, report.takenOver());
    }
  }

  private static void copy(Path from, Path to) throws IOException {
    try (Stream<Path> paths = Files.walk(from)) {
      for (Path path : (Iterable<Path>) paths::iterator) {
        Files.copy(path, to.resolve(from.relativize(path).toString()));
      }
    }
  }

  private static void delete(Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    }
  }

  @Test
  void whatFailedOrWasCancelledIsResumedToo() throws IOException {
    assertThrows(IOException.class, () -> write(resuming(), new FaultyDisk(Fault.FAIL_FROM_THEN_ON, turn(1))));
    int[] asked = {0};
    assertThrows(CancellationException.class, () -> write(resuming().cancelledWhen(() -> asked[0]++ > 1), unharmed()));
    assertWhole(write(resuming(), unharmed()), FILES.subList(0, 2));
  }

  @Test
  void whatIsRefusedLeavesNothing() throws IOException {
    assertThrows(IncompatibleModelException.class, () -> write(out, resuming(), unharmed(), 1e40));
    assertEquals(Map.of(), Trees.contents(out.getParent()));
  }

  @Test
  void withoutTheOptionNothingIsKeptOrTakenOver() throws IOException {
    WriteOptions plain = WriteOptions.defaults().withThreads(1).recording();
    FaultyDisk counting = unharmed();
    write(dir.resolve("other"), plain, counting, 1);
    assertThrows(IOException.class, () -> write(plain, new FaultyDisk(Fault.FAIL, counting.operations().lastIndexOf("create"))));
    assertEquals(Map.of(), Trees.contents(out.getParent()));
    dieAfter(2);
    assertWhole(write(plain, unharmed()), List.of());
  }

  @Test
  void anInputThatChangedIsNamedAndAllIsWrittenAnew() throws IOException {
    dieAfter(2);
    Path input = tuned.resolve("model.safetensors");
    Files.setLastModifiedTime(input, FileTime.fromMillis(1));
    WriteReport report = write(resuming(), unharmed());
    assertEquals(
        List.of("what an earlier write left was not used because '" + input.toRealPath() + "' was changed since"), report.notTakenOver());
    assertWhole(report, List.of());
  }

  @Test
  void sideFilesOfInputsCountTooAndSoDoesTheirNumber() throws IOException {
    dieAfter(1);
    Files.writeString(base.resolve("added.txt"), "text");
    WriteReport report = write(resuming(), unharmed());
    assertTrue(report.notTakenOver().get(0).endsWith("it was made without '" + base.resolve("added.txt").toRealPath() + "'"));
    assertWhole(report, List.of());
  }

  /** Size and time of the last write are those that it had. */
  @Test
  void anInputThatWasRewrittenUnderItsOldTimeIsNoticed() throws IOException {
    dieAfter(2);
    Path input = newer.resolve(FILES.get(0));
    FileTime time = Files.getLastModifiedTime(input);
    byte[] bytes = Files.readAllBytes(input);
    bytes[bytes.length - 1] ^= 1;
    Files.write(input, bytes);
    Files.setLastModifiedTime(input, time);
    WriteReport report = write(resuming(), unharmed());
    assertEquals(List.of(), report.takenOver());
    assertTrue(report.notTakenOver().get(0).contains(FILES.get(0) + "' was changed since"), report.notTakenOver()::toString);
  }

  @Test
  void otherOptionsAndOtherOutputsAreNotTakenOver() throws IOException {
    dieAfter(2);
    WriteReport report = write(resuming().resuming("half", base, tuned, newer), unharmed());
    assertEquals(List.of("what an earlier write left was not used because it was made with other options"), report.notTakenOver());
    Files.move(out, dir.resolve("done"));
    dieAfter(2);
    try (ModelVersion three = Checkpoints.open(base)) {
      report = Checkpoints.write(three, out, resuming());
    }
    assertEquals(List.of("what an earlier write left was not used because it was to have other files or tensors"), report.notTakenOver());
    assertEquals(List.of(), report.takenOver());
  }

  @Test
  void aFileWhoseBytesAreNotThoseNotedIsNamedAndWrittenAnew() throws IOException {
    dieAfter(3);
    Path file = leftover().resolve(FILES.get(1));
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length - 1] ^= 1;
    Files.write(file, bytes);
    WriteReport report = write(resuming(), unharmed());
    assertEquals(
        List.of("file '" + FILES.get(1) + "' of an earlier write was not used because its bytes are not those that were written"),
        report.notTakenOver());
    assertWhole(report, List.of(FILES.get(0), FILES.get(2)));
  }

  @Test
  void linksInWhatIsLeftAreNotFollowed() throws IOException {
    dieAfter(3);
    Path elsewhere = Files.createDirectory(dir.resolve("elsewhere"));
    Path file = leftover().resolve(FILES.get(0));
    Files.move(file, elsewhere.resolve("x"));
    Files.createSymbolicLink(file, elsewhere.resolve("x"));
    Files.delete(leftover().resolve(FILES.get(1)));
    WriteReport report = write(resuming(), unharmed());
    assertEquals(
        List.of(
            "file '" + FILES.get(0) + "' of an earlier write was not used because it is a link, or another user's",
            "file '" + FILES.get(1) + "' of an earlier write was not used because it cannot be read"),
        report.notTakenOver());
    assertWhole(report, List.of(FILES.get(2)));
    assertEquals(List.of("x"), Trees.names(elsewhere));
  }

  @Test
  void whatHasNoJournalIsNotTakenOver() throws IOException {
    dieAfter(2);
    Files.delete(leftover().resolve(".portllm.journal"));
    WriteReport report = write(resuming(), unharmed());
    assertEquals(List.of("what an earlier write left was not used because it left no journal that can be read"), report.notTakenOver());
    assertWhole(report, List.of());
  }

  @Test
  void aRivalIsRefusedAndHarmsNothingThatIsTakenOver() throws IOException {
    dieAfter(2);
    boolean[] tried = {false};
    WriteOptions options =
        resuming()
            .cancelledWhen(
                () -> {
                  tried[0] = true;
                  IOException refused = assertThrows(IOException.class, () -> write(resuming(), unharmed()));
                  assertTrue(refused.getMessage().contains("is being written by another thread"), refused::getMessage);
                  return false;
                });
    assertWhole(write(options, unharmed()), FILES.subList(0, 2));
    assertTrue(tried[0]);
  }
}
