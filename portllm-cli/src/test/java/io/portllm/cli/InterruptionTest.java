package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
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

/** Ctrl-C in the middle of a write, to the command as a process of its own. */
class InterruptionTest {
  private static final int ELEMENTS = 48 << 20;

  @TempDir private Path dir;

  /** A model of zeros, which take no room on the disk. */
  private Path zeros(String name) throws IOException {
    Path file = dir.resolve(name);
    String header = "{\"w\":{\"dtype\":\"BF16\",\"shape\":[" + ELEMENTS + "],\"data_offsets\":[0," + 2L * ELEMENTS + "]}}";
    try (RandomAccessFile out = new RandomAccessFile(file.toString(), "rw")) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length()).array());
      out.write(header.getBytes(StandardCharsets.US_ASCII));
      out.setLength(8 + header.length() + 2L * ELEMENTS);
    }
    return file;
  }

  private List<String> names(Path folder) throws IOException {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** The command's exit code, or -1 if it was done before it could be interrupted. */
  private int interrupted(Path base, Path tuned, Path out) throws Exception {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    Process command =
        new ProcessBuilder(
                java, "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), Main.class.getName(),
                "port", "--fine-tuned", tuned.toString(), "--base", base.toString(), "--onto", base.toString(), "-o", out.toString(), "--threads", "1")
            .redirectErrorStream(true)
            .redirectOutput(dir.resolve("said").toFile())
            .start();
    try {
      while (command.isAlive() && names(out.getParent()).stream().noneMatch(name -> name.endsWith(".tmp"))) {
        Thread.sleep(5);
      }
      if (!command.isAlive()) {
        return -1;
      }
      assertEquals(0, new ProcessBuilder("kill", "-INT", Long.toString(command.pid())).start().waitFor());
      assertTrue(command.waitFor(120, TimeUnit.SECONDS));
      return command.exitValue();
    } finally {
      command.destroyForcibly();
    }
  }

  @Test
  void ctrlCLeavesNothing() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/bin/kill")) || Files.isExecutable(Path.of("/usr/bin/kill")), "no signals here");
    Path base = zeros("base.safetensors");
    Path tuned = zeros("tuned.safetensors");
    Path work = Files.createDirectory(dir.resolve("work"));
    Path out = work.resolve("out.safetensors");

    int exitCode = interrupted(base, tuned, out);
    String said = Files.readString(dir.resolve("said"));

    if (exitCode <= 0) {
      abort("the command was done before it could be interrupted: " + said);
    }
    assertEquals("portllm: cancelled", said.strip());
    assertEquals(130, exitCode);
    assertEquals(List.of(), names(work));
    assertEquals(List.of("base.safetensors", "said", "tuned.safetensors", "work"), names(dir));
  }
}
