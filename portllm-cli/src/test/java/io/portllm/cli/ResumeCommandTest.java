package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** {@code --resume}, after a command was killed and without. */
class ResumeCommandTest {
  private static final List<String> FILES = List.of("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");

  /** Elements of the tensor in each file: one that is finished at once, and one that takes a while. */
  private static final List<Integer> ELEMENTS = List.of(1 << 10, 16 << 20);

  @TempDir private Path dir;

  /** A model of zeros, which take no room on the disk. */
  private Path zeros(String name) throws IOException {
    Path folder = Files.createDirectory(dir.resolve(name));
    for (int i = 0; i < FILES.size(); i++) {
      long bytes = 2L * ELEMENTS.get(i);
      String header = "{\"w" + i + "\":{\"dtype\":\"BF16\",\"shape\":[" + ELEMENTS.get(i) + "],\"data_offsets\":[0," + bytes + "]}}";
      try (RandomAccessFile out = new RandomAccessFile(folder.resolve(FILES.get(i)).toString(), "rw")) {
        out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length()).array());
        out.write(header.getBytes(StandardCharsets.US_ASCII));
        out.setLength(8 + header.length() + bytes);
      }
    }
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        "{\"weight_map\": {\"w0\": \"" + FILES.get(0) + "\", \"w1\": \"" + FILES.get(1) + "\"}}");
    return folder;
  }

  private List<String> port(Path tuned, Path base, String out) {
    return List.of(
        "port", "--fine-tuned", tuned.toString(), "--base", base.toString(), "--onto", base.toString(), "-o", out,
        "--resume", "--threads", "1");
  }

  private static String run(List<String> arguments, int exitCode) {
    StringWriter out = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(out, true));
    assertEquals(exitCode, command.execute(arguments.toArray(String[]::new)), out::toString);
    return out.toString();
  }

  private static long lines(Path folder) throws IOException {
    try (Stream<Path> paths = Files.list(folder)) {
      for (Path path : paths.filter(path -> path.toString().endsWith(".tmp")).toList()) {
        Path journal = path.resolve(".portllm.journal");
        return Files.exists(journal) ? Files.readString(journal).chars().filter(c -> c == '\n').count() : 0;
      }
    }
    return 0;
  }

  @Test
  void aKilledCommandGoesOnWhereItStopped() throws Exception {
    Path base = zeros("base");
    Path tuned = zeros("tuned");
    Path outputs = Files.createDirectory(dir.resolve("outputs"));
    List<String> arguments = port(tuned, base, outputs.resolve("out").toString());
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> start = List.of(java, "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), Main.class.getName());
    Process command = new ProcessBuilder(Stream.concat(start.stream(), arguments.stream()).toList()).redirectErrorStream(true).start();
    try {
      while (command.isAlive() && lines(outputs) < 2) {
        Thread.sleep(1);
      }
    } finally {
      command.destroyForcibly();
      assertTrue(command.waitFor(60, TimeUnit.SECONDS));
    }
    if (Files.exists(outputs.resolve("out"))) {
      abort("the command was done before it could be killed");
    }
    String said = run(arguments, 0);
    assertTrue(said.contains("resumed: 1 weight files of an earlier run were taken over: " + FILES.get(0)), said);
    run(port(tuned, base, dir.resolve("whole").toString()), 0);
    for (String file : FILES) {
      assertEquals(-1, Files.mismatch(dir.resolve("whole").resolve(file), outputs.resolve("out").resolve(file)));
    }
    assertTrue(run(List.of("verify", outputs.resolve("out").toString()), 0).contains("as it was written"));
  }

  @Test
  void anOutputOfOneFileIsNotResumed() throws IOException {
    Path base = zeros("base");
    String said = run(port(base, base, dir.resolve("out.safetensors").toString()), 2);
    assertTrue(said.contains("--resume means nothing to an output of one file"), said);
  }
}
