package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.io.WriteOptions;
import io.portllm.io.internal.record.OutputRecord;
import io.portllm.io.internal.write.Disk;
import io.portllm.io.write.FaultyDisk.Fault;
import io.portllm.io.write.FaultyDisk.Halt;
import io.portllm.io.write.Writers.Kind;
import io.portllm.io.write.Writers.Writer;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Whatever operation on the disk goes wrong, in whatever way, while whatever output is written: the target is as it was or as it is to be,
 * the inputs are as they were, and the next run works and leaves nothing else behind.
 */
class CrashSafetyTest {
  /** One thread, so that operations have an order. */
  private static final WriteOptions OPTIONS = WriteOptions.defaults().withThreads(1).overwriting().recording();

  /** Tries of what may be there after a power cut: none of the steps that were not synced, and so many times some. */
  private static final int TRIES = Integer.getInteger("portllm.powerCuts", 1);

  private static int points;
  private static int images;

  @TempDir Path dir;

  private Path inputs;
  private Path work;
  private int runs;

  @BeforeEach
  void makeFolders() throws IOException {
    inputs = Files.createDirectory(dir.resolve("inputs"));
    work = Files.createDirectory(dir.resolve("work"));
  }

  @AfterAll
  static void tell() {
    System.getLogger(CrashSafetyTest.class.getName()).log(System.Logger.Level.INFO, points + " faults and " + images + " power cuts survived");
  }

  /** The kinds of output onto nothing, and in place of an older one. */
  private Stream<DynamicTest> forEachKind(ForKind test) throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Kind kind : Writers.all(inputs)) {
      for (boolean replaces : new boolean[] {false, true}) {
        tests.add(
            DynamicTest.dynamicTest(
                kind + (replaces ? " over another" : " onto nothing"),
                () -> {
                  Case found = new Case(kind, replaces);
                  test.run(found);
                  found.assertInputsAreAsTheyWere();
                }));
      }
    }
    return tests.stream();
  }

  private interface ForKind {
    void run(Case found) throws IOException;
  }

  /** A kind of output, and what is there before and after. */
  private final class Case {
    private final Kind kind;
    private final boolean replaces;
    private final Path older;
    private final Map<String, String> before;
    private final Map<String, String> after;
    private final Map<String, String> given = Trees.contents(inputs);

    Case(Kind kind, boolean replaces) throws IOException {
      this.kind = kind;
      this.replaces = replaces;
      this.older = Files.createDirectory(work.resolve("older" + runs++));
      kind.older().write(older.resolve(kind.target()), OPTIONS, new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE));
      this.before = Trees.contents(start());
      Path folder = start();
      kind.writer().write(folder.resolve(kind.target()), OPTIONS, new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE));
      this.after = Trees.contents(folder);
      assertFalse(before.equals(after));
      assertTrue(after.keySet().stream().noneMatch(name -> name.startsWith(".")));
    }

    /** A new folder with the older output, if there is one. */
    private Path start() throws IOException {
      Path folder = Files.createDirectory(work.resolve("run" + runs++));
      if (replaces) {
        copy(older, folder);
      }
      return folder;
    }

    private static void copy(Path from, Path to) throws IOException {
      try (Stream<Path> paths = Files.walk(from)) {
        for (Path path : (Iterable<Path>) paths::iterator) {
          if (!path.equals(from)) {
            Files.copy(path, to.resolve(from.relativize(path)));
          }
        }
      }
    }

    /** To be called in the end. */
    void assertInputsAreAsTheyWere() throws IOException {
      assertEquals(given, Trees.contents(inputs));
      assertEquals(List.of(), Trees.openFiles(dir));
    }

    private void write(Path folder, Disk disk) throws IOException {
      kind.writer().write(folder.resolve(kind.target()), OPTIONS, disk);
    }

    /** What is there without temporaries, which begin with a dot. */
    private Map<String, String> visible(Path folder) throws IOException {
      Map<String, String> contents = new TreeMap<>(Trees.contents(folder));
      contents.keySet().removeIf(name -> name.startsWith("."));
      return contents;
    }

    /** Whether the folder was put aside by a process that died before the new one was in place. */
    private boolean isAside(Path folder) throws IOException {
      return visible(folder).isEmpty() && Trees.names(folder).stream().anyMatch(name -> name.endsWith(".old"));
    }

    private void assertOldOrNew(Path folder, String when) throws IOException {
      Map<String, String> found = visible(folder);
      if (isAside(folder)) {
        // The next writer finds the old output, and puts it back even if it then does nothing else.
        Disk disk = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
        assertThrows(
            FileAlreadyExistsException.class,
            () -> kind.writer().write(folder.resolve(kind.target()), WriteOptions.defaults().withThreads(1), disk));
        found = kind.resumes() ? visible(folder) : Trees.contents(folder);
      }
      if (!found.equals(before) && !found.equals(withoutRecord(before)) && !found.equals(withoutRecord(after))) {
        assertEquals(after, found, () -> when + " left " + folder + " neither as it was nor as it is to be");
      }
    }

    /** A file may lack its record for a moment; it never has another's. */
    private static Map<String, String> withoutRecord(Map<String, String> contents) {
      Map<String, String> without = new TreeMap<>(contents);
      without.keySet().removeIf(name -> name.endsWith("." + OutputRecord.NAME));
      return without;
    }

    private void assertNextRunWorks(Path folder, String when) throws IOException {
      write(folder, new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE));
      assertEquals(after, Trees.contents(folder), when);
    }
  }

  @TestFactory
  Stream<DynamicTest> everyOperationMayGoWrong() throws IOException {
    return forEachKind(
        found -> {
          FaultyDisk whole = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
          found.write(found.start(), whole);
          for (Fault fault : Fault.values()) {
            for (int turn = 0; turn < whole.operations().size(); turn++) {
              if (fault.concerns(whole.operations().get(turn)) && (fault != Fault.SHORT_WRITES || turn == whole.operations().indexOf("write"))) {
                goWrong(found, new FaultyDisk(fault, turn), fault, fault + " at operation " + turn + " of " + found.kind);
                points++;
              }
            }
          }
        });
  }

  private static void goWrong(Case found, FaultyDisk disk, Fault fault, String when) throws IOException {
    Path folder = found.start();
    Throwable thrown = null;
    try {
      found.write(folder, disk);
    } catch (IOException | Halt e) {
      thrown = e;
    }
    List<String> operations = disk.operations();
    if (thrown == null) {
      assertEquals(found.after, Trees.contents(folder), when);
    } else if (thrown instanceof Halt) {
      assertTrue(fault == Fault.HALT || fault == Fault.HALT_AFTERWARDS, when);
    } else if (fault == Fault.FAIL || fault == Fault.FAIL_AFTERWARDS || fault == Fault.NO_SPACE) {
      // Only what could not be deleted may be left, and what was put aside if it could not be deleted or surely be replaced; and what
      // the next write can take over.
      boolean cleaned = Trees.names(folder).stream().noneMatch(name -> name.startsWith(".") && !name.endsWith(".lock"));
      String last = operations.get(operations.size() - 1);
      boolean mayBeLeft = found.kind.resumes() || operations.contains("delete") || operations.contains("forceFolder");
      assertTrue(cleaned || mayBeLeft, () -> when + ", last " + last);
    }
    found.assertOldOrNew(folder, when);
    found.assertNextRunWorks(folder, when);
  }

  @TestFactory
  Stream<DynamicTest> thePowerMayGoBeforeEveryOperation() throws IOException {
    return forEachKind(
        found -> {
          Random random = new Random(7);
          LossyDisk disk;
          int last = 0;
          do {
            Path folder = found.start();
            disk = new LossyDisk(folder, last);
            try {
              found.write(folder, disk);
            } catch (Halt e) {
              assertTrue(disk.wasCut());
            }
            for (int attempt = 0; attempt < 1 + TRIES; attempt++) {
              double chance = attempt == 0 ? 0 : 0.5;
              Path image = disk.image(work.resolve("image" + runs++), chance, random);
              String when = "power cut before operation " + last + " of " + found.kind + ", each step kept by " + chance;
              if (disk.wasCut()) {
                found.assertOldOrNew(image, when);
              } else {
                // What was reported as done is on the disk.
                assertEquals(found.after, found.visible(image), when);
              }
              if (attempt > 0) {
                found.assertNextRunWorks(image, when);
              }
              images++;
            }
            last++;
          } while (disk.wasCut());
        });
  }

  /** A process dies while it puts its output in place, and the power goes while the next one cleans up and writes again. */
  @Test
  void thePowerMayGoAfterADeath() throws IOException {
    Kind kind = Writers.all(inputs).stream().filter(one -> one.name().equals("folder")).findFirst().orElseThrow();
    Case found = new Case(kind, true);
    FaultyDisk whole = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
    found.write(found.start(), whole);
    Random random = new Random(8);
    int died = 0;
    for (int first = whole.operations().indexOf("move"); first < whole.operations().size(); first++) {
      boolean cut = true;
      for (int second = 0; cut; second++) {
        Path folder = found.start();
        LossyDisk disk = new LossyDisk(folder, Integer.MAX_VALUE);
        died += runUntil(found, folder, disk, first) ? 1 : 0;
        // The second process has the same disk, of which some is still in memory only.
        disk.cutAfter(second);
        cut = runUntil(found, folder, disk, Integer.MAX_VALUE);
        for (int attempt = 0; attempt < 1 + TRIES; attempt++) {
          double chance = attempt == 0 ? 0 : 0.5;
          Path image = disk.image(work.resolve("image" + runs++), chance, random);
          String when = "death before operation " + first + ", power cut at " + second + " of the next, each step kept by " + chance;
          found.assertOldOrNew(image, when);
          images++;
        }
      }
    }
    assertTrue(died > 0);
  }

  /** Whether the process died. */
  private static boolean runUntil(Case found, Path folder, LossyDisk disk, int turn) throws IOException {
    disk.dieAfter(turn);
    try {
      found.write(folder, disk);
      return false;
    } catch (Halt e) {
      return true;
    } finally {
      disk.dieAfter(Integer.MAX_VALUE);
    }
  }

  @Test
  void everyKindOfOperationIsReached() throws IOException {
    Set<String> seen = new HashSet<>();
    for (Kind kind : Writers.all(inputs)) {
      Case found = new Case(kind, true);
      FaultyDisk disk = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
      found.write(found.start(), disk);
      seen.addAll(disk.operations());
    }
    assertEquals(Set.of("lock", "room", "create", "createFolder", "write", "force", "forceFolder", "move", "delete"), seen);
  }
}
