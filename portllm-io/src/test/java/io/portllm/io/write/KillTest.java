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
import java.util.ArrayList;
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

  /** Longer than the child takes for a few outputs. */
  private static final int LONGEST_MILLIS = 60;

  /** Longer than it takes for its first one, for which classes are loaded. */
  private static final int LONGEST_MILLIS_OF_FIRST = 250;

  /** Options of the child's JVM, which can have a class path that it can load from an archive. */
  private static final String CHILD = System.getProperty("portllm.child", "-cp " + System.getProperty("java.class.path"));

  private static final List<String> TARGETS = List.of("folder", "resumed", "file.safetensors", "file.gguf", "p.patch.safetensors");

  @TempDir Path dir;

  /** Makes what is written. */
  static final class Inputs {
    private Inputs() {}

    public static void main(String... arguments) throws IOException {
      Path inputs = Path.of(arguments[0]);
      for (int version = 0; version < 2; version++) {
        TestModel model = version == 0 ? Trio.of(DType.F32).base() : Trio.of(DType.F32).newBase();
        model.saveFile(inputs.resolve(version + ".safetensors"));
        model.resharded(Trio.names(), 2 + version).side("sub/notes.txt", "v" + version).saveTo(inputs.resolve("v" + version));
        GgufBytes.everything(version).write(inputs.resolve(version + ".gguf"));
      }
    }
  }

  /** The process that is killed. */
  static final class Child {
    private Child() {}

    /** Inputs, outputs, and after how many of these to end. */
    public static void main(String[] arguments) throws IOException {
      Random random = new Random();
      System.out.println("starting");
      for (int i = 0; i < Integer.parseInt(arguments[2]); i++) {
        write(Path.of(arguments[0]), Path.of(arguments[1]), TARGETS.get(random.nextInt(TARGETS.size())), random.nextInt(2));
        if (i == 0) {
          System.out.println("running");
        }
      }
    }
  }

  private static void write(Path inputs, Path work, int version) throws IOException {
    for (String target : TARGETS) {
      write(inputs, work, target, version);
    }
  }

  private static void write(Path inputs, Path work, String target, int version) throws IOException {
    WriteOptions options = WriteOptions.defaults().withThreads(2).overwriting().recording();
    Path base = inputs.resolve("v" + version);
    switch (target) {
      case "folder" -> copy(base, work.resolve(target), options);
      case "resumed" -> copy(base, work.resolve(target), options.resuming("copy", base));
      case "file.safetensors" -> copy(inputs.resolve(version + ".safetensors"), work.resolve(target), options);
      case "file.gguf" -> copy(inputs.resolve(version + ".gguf"), work.resolve(target), options);
      default -> {
        try (ModelVersion one = Checkpoints.open(base); ModelVersion other = Checkpoints.open(inputs.resolve("v" + (1 - version)))) {
          PatchFile.write(Patch.from(one, other), work.resolve(target), options);
        }
      }
    }
  }

  private static void copy(Path from, Path to, WriteOptions options) throws IOException {
    try (ModelVersion model = Checkpoints.open(from)) {
      Checkpoints.write(model, to, options);
    }
  }

  private Process start(Path inputs, Path work) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> command = new ArrayList<>(List.of(java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"));
    command.addAll(List.of(CHILD.split(" ")));
    command.addAll(List.of(Child.class.getName(), inputs.toString(), work.toString(), Integer.toString(Integer.MAX_VALUE)));
    return new ProcessBuilder(command)
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
    Inputs.main(inputs.toString());
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
        // In its first output, which is slow and cleans up after the process before, or in one of the next.
        boolean isFirst = random.nextBoolean();
        assertEquals("starting", said.readLine());
        if (!isFirst) {
          assertEquals("running", said.readLine());
        }
        Thread.sleep(random.nextInt(isFirst ? LONGEST_MILLIS_OF_FIRST : LONGEST_MILLIS));
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
    for (String target : TARGETS.subList(0, 4)) {
      assertTrue(Verification.of(work.resolve(target)).holds());
    }
    System.getLogger(KillTest.class.getName())
        .log(System.Logger.Level.INFO, KILLS + " kills survived, " + aside + " between the two renames of a folder; left behind were " + leftovers);
  }
}
