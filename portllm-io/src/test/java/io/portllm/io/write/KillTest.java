package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.gguf.GgufBytes;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A process that writes one output over another, again and again, is killed at random moments: each output is one or the other, and the
 * next process goes on. {@code tools/kill_test.sh} kills more often.
 */
class KillTest {
  private static final int KILLS = Integer.getInteger("portllm.kills", 4);

  /** Longer than a few rounds of the child take. */
  private static final int LONGEST_MILLIS = 120;

  private static final List<String> TARGETS = List.of("folder", "file.safetensors", "file.gguf", "p.patch.safetensors");

  @TempDir Path dir;

  /** The process that is killed. */
  static final class Child {
    private Child() {}

    public static void main(String[] arguments) throws IOException {
      Path work = Path.of(arguments[1]);
      write(Path.of(arguments[0]), work, 0);
      System.out.println("running");
      for (int round = 1; ; round++) {
        write(Path.of(arguments[0]), work, round % 2);
      }
    }
  }

  private static void write(Path inputs, Path work, int version) throws IOException {
    WriteOptions options = WriteOptions.defaults().withThreads(2).overwriting().recording();
    Path base = inputs.resolve("v" + version);
    try (ModelVersion one = Checkpoints.open(base);
        ModelVersion other = Checkpoints.open(inputs.resolve("v" + (1 - version)));
        ModelVersion gguf = Checkpoints.open(inputs.resolve(version + ".gguf"))) {
      Checkpoints.write(one, work.resolve(TARGETS.get(0)), options);
      try (ModelVersion file = Checkpoints.open(inputs.resolve(version + ".safetensors"))) {
        Checkpoints.write(file, work.resolve(TARGETS.get(1)), options);
      }
      Checkpoints.write(gguf, work.resolve(TARGETS.get(2)), options);
      PatchFile.write(Patch.from(one, other), work.resolve(TARGETS.get(3)), options);
    }
  }

  private Process start(Path inputs, Path work) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    return new ProcessBuilder(
            java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", System.getProperty("java.class.path"),
            Child.class.getName(), inputs.toString(), work.toString())
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  /** What is at a target with its record, without what others have there. */
  private static Map<String, String> at(Path work, String target) throws IOException {
    Map<String, String> found = new TreeMap<>(Trees.contents(work));
    found.keySet().removeIf(name -> !name.equals(target) && !name.startsWith(target + "/") && !name.startsWith(target + "."));
    return found;
  }

  private static Map<String, String> withoutRecord(Map<String, String> contents) {
    Map<String, String> without = new TreeMap<>(contents);
    without.keySet().removeIf(name -> name.endsWith(".portllm.json"));
    return without;
  }

  @Test
  void whoeverIsKilledLeavesOneOrTheOther() throws Exception {
    Path inputs = Files.createDirectory(dir.resolve("inputs"));
    for (int version = 0; version < 2; version++) {
      TestModel model = version == 0 ? Trio.of(DType.F32).base() : Trio.of(DType.F32).newBase();
      model.saveFile(inputs.resolve(version + ".safetensors"));
      model.resharded(Trio.names(), 2 + version).side("sub/notes.txt", "v" + version).saveTo(inputs.resolve("v" + version));
      GgufBytes.everything(version).write(inputs.resolve(version + ".gguf"));
    }
    Map<String, String> given = Trees.contents(inputs);
    Path whole = Files.createDirectory(dir.resolve("whole"));
    Map<String, Set<Map<String, String>>> allowed = new TreeMap<>();
    for (int version = 0; version < 2; version++) {
      write(inputs, whole, version);
      for (String target : TARGETS) {
        Set<Map<String, String>> both = allowed.computeIfAbsent(target, name -> new HashSet<>());
        both.add(at(whole, target));
        both.add(withoutRecord(at(whole, target)));
      }
    }
    Path work = Files.createDirectory(dir.resolve("work"));
    write(inputs, work, 0);

    Random random = new Random();
    int aside = 0;
    Set<String> leftovers = new TreeSet<>();
    for (int kill = 0; kill < KILLS; kill++) {
      Process child = start(inputs, work);
      try {
        BufferedReader said = new BufferedReader(new InputStreamReader(child.getInputStream(), StandardCharsets.UTF_8));
        // From the second line of its life on: the first round cleaned up after the one before.
        if (random.nextInt(4) > 0) {
          assertEquals("running", said.readLine());
        }
        Thread.sleep(random.nextInt(LONGEST_MILLIS));
        assertTrue(child.isAlive());
      } finally {
        child.destroyForcibly();
        assertTrue(child.waitFor(60, TimeUnit.SECONDS));
      }
      for (String target : TARGETS) {
        Map<String, String> found = at(work, target);
        if (found.isEmpty() && Trees.names(work).stream().anyMatch(name -> name.startsWith("." + target) && name.endsWith(".old"))) {
          aside++;
          continue;
        }
        int number = kill;
        assertTrue(allowed.get(target).contains(found), () -> "kill " + number + " left " + target + " as " + found);
      }
      Trees.names(work).stream().filter(name -> name.startsWith(".")).map(name -> name.replaceAll("[0-9]+-[0-9a-f]+", "N")).forEach(leftovers::add);
    }
    // The last one ends by itself.
    write(inputs, work, 1);
    assertEquals(Trees.contents(whole), Trees.contents(work));
    assertEquals(given, Trees.contents(inputs));
    for (String target : TARGETS.subList(0, 3)) {
      assertTrue(Verification.of(work.resolve(target)).holds());
    }
    System.getLogger(KillTest.class.getName())
        .log(System.Logger.Level.INFO, KILLS + " kills survived, " + aside + " between the two renames of a folder; left behind were " + leftovers);
  }
}
