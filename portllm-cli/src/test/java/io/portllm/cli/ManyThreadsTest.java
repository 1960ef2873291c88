package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A heap of 64 MB, which bounds the memory off the heap too, suffices however many threads are asked for. */
class ManyThreadsTest {
  private static final int ELEMENTS = 64 << 20;

  @TempDir private Path dir;

  /** A model of zeros, which take no room on the disk. */
  private String zeros(String name) throws IOException {
    Path file = dir.resolve(name + ".safetensors");
    String header = "{\"w\":{\"dtype\":\"BF16\",\"shape\":[8192," + ELEMENTS / 8192 + "],\"data_offsets\":[0," + 2 * ELEMENTS + "]}}";
    try (RandomAccessFile out = new RandomAccessFile(file.toString(), "rw")) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length()).array());
      out.write(header.getBytes(StandardCharsets.US_ASCII));
      out.setLength(8 + header.length() + 2L * ELEMENTS);
    }
    return file.toString();
  }

  @Test
  void aPortFitsIt() throws Exception {
    String out = dir.resolve("out.safetensors").toString();
    Path log = dir.resolve("log");
    List<String> command =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx64m", "-cp", System.getProperty("java.class.path"),
            Main.class.getName(), "port", "--fine-tuned", zeros("tuned"), "--base", zeros("base"), "--onto", zeros("newer"), "-o", out,
            "--no-record", "--threads", "64");
    Process port = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    assertEquals(0, port.waitFor(), Files.readString(log));
    try (ModelVersion written = Checkpoints.open(Path.of(out)); ModelVersion base = Checkpoints.open(dir.resolve("newer.safetensors"))) {
      assertEquals(Fingerprint.of(base), Fingerprint.of(written));
    }
  }
}
