package io.portllm.io.internal.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A JVM with a heap of 64 MiB gives every file its verdict, whatever the file says of its sizes. */
class SmallHeapTest {
  private static final Path SHARED = Path.of("../../shared/torture");

  @TempDir Path dir;

  /** What the child runs: prints a verdict for each path. */
  static final class Verdicts {
    private Verdicts() {}

    public static void main(String[] paths) throws IOException {
      for (String path : paths) {
        System.out.println(verdict(Path.of(path)));
      }
    }

    private static String verdict(Path path) throws IOException {
      try (ModelVersion model = Checkpoints.open(path)) {
        Fingerprint.of(model);
        return "read";
      } catch (MalformedModelException e) {
        return e.rule();
      }
    }
  }

  private static List<String> verdicts(List<Path> paths) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Xmx64m", "-XX:MaxDirectMemorySize=32m"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Verdicts.class.getName()));
    paths.forEach(path -> command.add(path.toString()));
    Process child = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, child.waitFor(), output);
    return output.lines().toList();
  }

  @Test
  void everySharedCaseHasItsVerdict() throws IOException, InterruptedException {
    assumeTrue(Files.isDirectory(SHARED), "no shared torture set");
    List<Path> paths = new ArrayList<>();
    List<String> expected = new ArrayList<>();
    for (JsonNode c : new ObjectMapper().readTree(Files.readAllBytes(SHARED.resolve("manifest.json")))) {
      if (c.get("kind").textValue().startsWith("gguf")) {
        paths.add(SHARED.resolve(c.get("file").textValue()));
        expected.add(c.get("valid").booleanValue() ? "read" : c.get("rule").textValue());
      }
    }
    assertEquals(expected, verdicts(paths));
  }

  @Test
  void arraysLargerThanTheHeapAreSteppedOver() throws IOException, InterruptedException {
    // The numbers are a hole in the file, as are a million strings without bytes.
    long numbers = 1L << 30;
    long strings = 1 << 20;
    byte[] first = GgufBytes.le("numbers", ValueType.ARRAY.ordinal(), ValueType.U8.ordinal(), numbers);
    byte[] second = GgufBytes.le("strings", ValueType.ARRAY.ordinal(), ValueType.STRING.ordinal(), strings);
    byte[] whole = new GgufBytes().raw(first).raw(second).tensor("t", DType.F32, 8).build();
    int header = 24 + first.length;
    int info = 8 + 1 + 4 + 8 + 4 + 8;
    Path file = dir.resolve("m.gguf");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(whole, 0, header), 0);
      long at = header + numbers;
      channel.write(ByteBuffer.wrap(second), at);
      at += second.length + 8 * strings;
      channel.write(ByteBuffer.wrap(whole, header + second.length, info), at);
      long data = (at + info + 31) / 32 * 32;
      channel.write(ByteBuffer.wrap(whole, whole.length - 32, 32), data);
    }
    Path cut = Files.write(dir.resolve("cut.gguf"), new GgufBytes().raw(first).build());

    assertEquals(List.of("read", "GG-ARRLEN"), verdicts(List.of(file, cut)));
  }
}
