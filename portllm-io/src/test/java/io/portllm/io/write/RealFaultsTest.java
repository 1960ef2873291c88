package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.SideFile;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Faults of a real system, in a process of its own: a disk that is full, a limit on files. */
class RealFaultsTest {
  @TempDir Path dir;

  /** Writes a model of 1 MiB of weights, and of 8 MiB beside them, which the check for room does not count. */
  static final class Child {
    private Child() {}

    public static void main(String[] arguments) throws IOException {
      Path out = Path.of(arguments[0]);
      TestModel weights = new TestModel("m").tensor("w", DType.U8, new byte[1 << 20], 1 << 20);
      ModelVersion model =
          new ForwardingModel(weights) {
            @Override
            public List<SideFile> sideFiles() {
              return List.of(new Zeros());
            }
          };
      try {
        Checkpoints.write(model, out, WriteOptions.defaults().overwriting());
        System.out.println("written");
      } catch (IOException e) {
        System.out.println(e.getMessage());
      }
      try (Stream<Path> left = Files.list(out.getParent())) {
        System.out.println(left.map(path -> path.getFileName().toString()).sorted().toList());
      }
    }
  }

  private record Zeros() implements SideFile {
    @Override
    public String name() {
      return "tokenizer.json";
    }

    @Override
    public InputStream open() {
      return new ByteArrayInputStream(new byte[8 << 20]);
    }
  }

  private static List<String> run(String script, Path out) throws Exception {
    List<String> command = new ArrayList<>(List.of("unshare", "-Urm", "bash", "-c", script, "bash"));
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:-UsePerfData", "-Xmx128m", "-cp", System.getProperty("java.class.path"), Child.class.getName(), out.toString()));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), said);
    return said.lines().toList();
  }

  private static void assumeUnshare(String script) throws Exception {
    try {
      Process process = new ProcessBuilder("unshare", "-Urm", "bash", "-c", script).redirectErrorStream(true).start();
      assumeTrue(process.waitFor() == 0, "nothing can be mounted here");
    } catch (IOException e) {
      abort("no unshare here: " + e);
    }
  }

  @Test
  void aFullDiskLeavesNothing() throws Exception {
    Path mount = Files.createDirectory(dir.resolve("mount"));
    String mounting = "mount -t tmpfs -o size=4m none '" + mount + "'";
    assumeUnshare(mounting);

    List<String> said = run(mounting + " && exec \"$@\"", mount.resolve("out"));

    assertTrue(said.get(0).startsWith("[" + mount + "/.out.portllm-") && said.get(0).endsWith("No space left on device"), said.get(0));
    assertEquals(List.of(said.get(0), "[]"), said);
  }

  @Test
  void aLimitOnTheSizeOfFilesLeavesNothing() throws Exception {
    assumeUnshare("true");

    List<String> said = run("ulimit -f 4096; exec \"$@\"", dir.resolve("out"));

    assertTrue(said.get(0).endsWith("File too large"), said.get(0));
    assertEquals(List.of(said.get(0), "[]"), said);
  }

  @Test
  void aDiskThatIsReadOnlyIsSaidBeforeAnyWork() throws Exception {
    Path mount = Files.createDirectory(dir.resolve("mount"));
    String mounting = "mount -t tmpfs -o ro,size=4m none '" + mount + "'";
    assumeUnshare(mounting);

    List<String> said = run(mounting + " && exec \"$@\"", mount.resolve("out"));

    assertEquals(List.of(mount + "/.out.portllm.lock: Read-only file system", "[]"), said);
  }
}
