package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.io.WriteOptions;
import io.portllm.io.internal.record.OutputRecord;
import io.portllm.io.internal.write.Disk;
import io.portllm.io.write.FaultyDisk.Fault;
import io.portllm.io.write.Writers.Kind;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A process is killed before each call to the system that changes the disk, for each kind of output, over another and onto nothing. Needs
 * the library that counts calls; {@code tools/call_kill_test.sh} builds it.
 */
class CallKillTest {
  private static final String LIBRARY = System.getProperty("portllm.killAtCall", "");

  private static final WriteOptions OPTIONS = WriteOptions.defaults().withThreads(1).overwriting().recording();

  private static final int KILLED = 128 + 9;

  @TempDir Path dir;

  private Path inputs;
  private int runs;

  /** The process that is killed. */
  static final class Child {
    private Child() {}

    public static void main(String[] arguments) throws IOException {
      Kind kind = Writers.of(Path.of(arguments[0])).get(Integer.parseInt(arguments[1]));
      kind.writer().write(Path.of(arguments[2]).resolve(kind.target()), OPTIONS, Disk.REAL);
    }
  }

  /** The exit code of a process that writes an output of this kind, and is to be killed before this call. */
  private int write(int kind, Path folder, int call) throws Exception {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    ProcessBuilder builder =
        new ProcessBuilder(
            java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData",
            "-cp", System.getProperty("java.class.path"),
            Child.class.getName(), inputs.toString(), Integer.toString(kind), folder.toString());
    builder.environment().put("LD_PRELOAD", LIBRARY);
    builder.environment().put("KILL_UNDER", folder.toString());
    builder.environment().put("KILL_AT", Integer.toString(call));
    Process child = builder.inheritIO().start();
    assertTrue(child.waitFor(5, TimeUnit.MINUTES));
    return child.exitValue();
  }

  private static FaultyDisk unharmed() {
    return new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
  }

  private Path start(Path older) throws IOException {
    Path folder = dir.resolve("run" + runs++);
    try (Stream<Path> paths = Files.walk(older)) {
      for (Path path : (Iterable<Path>) paths::iterator) {
        Files.copy(path, folder.resolve(older.relativize(path).toString()));
      }
    }
    return folder;
  }

  private static Map<String, String> visible(Path folder) throws IOException {
    Map<String, String> contents = new TreeMap<>(Trees.contents(folder));
    contents.keySet().removeIf(name -> name.startsWith("."));
    return contents;
  }

  /** A file may lack its record for a moment. */
  private static Map<String, String> withoutRecord(Map<String, String> contents) {
    Map<String, String> without = new TreeMap<>(contents);
    without.keySet().removeIf(name -> name.endsWith("." + OutputRecord.NAME));
    return without;
  }

  @Test
  void everyCallMayBeTheLast() throws Exception {
    assumeTrue(Files.exists(Path.of(LIBRARY)) && !LIBRARY.isEmpty(), "needs tools/call_kill_test.sh");
    inputs = Files.createDirectory(dir.resolve("inputs"));
    List<Kind> kinds = Writers.all(inputs);
    Map<String, String> given = Trees.contents(inputs);
    List<String> counts = new ArrayList<>();
    int kills = 0;
    for (int number = 0; number < kinds.size(); number++) {
      Kind kind = kinds.get(number);
      for (boolean replaces : new boolean[] {false, true}) {
        Path older = Files.createDirectory(dir.resolve("older" + runs++));
        if (replaces) {
          kind.older().write(older.resolve(kind.target()), OPTIONS, unharmed());
        }
        Path whole = start(older);
        kind.writer().write(whole.resolve(kind.target()), OPTIONS, unharmed());
        Map<String, String> before = Trees.contents(older);
        Map<String, String> after = Trees.contents(whole);
        int call = 0;
        for (boolean killed = true; killed; call++) {
          String when = "killed before call " + call + " of " + kind + (replaces ? " over another" : "");
          Path folder = start(older);
          int exitCode = write(number, folder, call);
          killed = exitCode == KILLED;
          assertEquals(killed ? KILLED : 0, exitCode, when);
          assertOldOrNew(kind, folder, before, after, when);
          if (!killed) {
            assertEquals(after, Trees.contents(folder));
          }
          kind.writer().write(folder.resolve(kind.target()), OPTIONS, unharmed());
          assertEquals(after, Trees.contents(folder), when);
        }
        // The last one was not killed.
        counts.add(kind + (replaces ? " over another " : " ") + (call - 1));
        kills += call - 1;
        assertTrue(call > 5, counts::toString);
      }
    }
    assertEquals(given, Trees.contents(inputs));
    System.getLogger(CallKillTest.class.getName()).log(System.Logger.Level.INFO, kills + " kills survived: " + counts);
  }

  private static void assertOldOrNew(Kind kind, Path folder, Map<String, String> before, Map<String, String> after, String when)
      throws IOException {
    Map<String, String> found = visible(folder);
    if (found.isEmpty() && Trees.names(folder).stream().anyMatch(name -> name.endsWith(".old"))) {
      // The next writer puts the old output back, even if it then does nothing else.
      try {
        kind.writer().write(folder.resolve(kind.target()), WriteOptions.defaults().withThreads(1), unharmed());
      } catch (FileAlreadyExistsException e) {
        found = visible(folder);
      }
    }
    if (!found.equals(before) && !found.equals(withoutRecord(before)) && !found.equals(withoutRecord(after))) {
      assertEquals(after, found, () -> when + " left " + folder + " neither as it was nor as it is to be");
    }
  }
}
