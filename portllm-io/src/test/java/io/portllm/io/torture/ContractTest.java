package io.portllm.io.torture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import io.portllm.io.write.Trees;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What holds for every hostile file, in a process of 64 MiB of heap and 32 MiB of direct memory: it is read and written, or refused by one
 * of two kinds of exceptions with a message that is safe to print; nothing appears at the target; inputs are as they were; no handle stays
 * open.
 */
class ContractTest {
  private static final Path SHARED = Path.of("../../shared/torture");

  @TempDir Path dir;

  /** What a case is of, and where. */
  private record Case(String kind, Path path, Path base, boolean valid, String rule) {
    List<String> arguments() {
      return List.of(kind, path.toString(), base.toString());
    }
  }

  /** Uses each file as its kind is used, and says how that went: verdict, processor time in ms, handles, names left, message. */
  static final class Child {
    private Child() {}

    /** Of all threads, those of the JVM's compilers too; unlike time by the clock it does not depend on what else runs. */
    private static long processorNanos() {
      return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime();
    }

    public static void main(String[] arguments) throws IOException {
      Path work = Path.of(arguments[0]);
      for (int i = 1; i < arguments.length; i += 3) {
        long started = processorNanos();
        String verdict;
        String message = "";
        try {
          use(arguments[i], Path.of(arguments[i + 1]), Path.of(arguments[i + 2]), work);
          verdict = "read";
        } catch (MalformedModelException e) {
          verdict = e.rule();
          message = e.getMessage();
        } catch (IncompatibleModelException e) {
          verdict = "incompatible";
          message = e.getMessage();
        } catch (Throwable e) {
          verdict = "WRONG KIND";
          message = e.toString();
        }
        long millis = (processorNanos() - started) / 1_000_000;
        List<String> left = new ArrayList<>(Trees.names(work));
        left.addAll(Trees.openFiles(Path.of(arguments[i + 1]).getParent()));
        delete(work);
        System.out.println(String.join("\u0001", verdict, Long.toString(millis), left.toString(), message.replace("\n", "\u0002")));
      }
    }

    private static void use(String kind, Path path, Path base, Path work) throws IOException {
      WriteOptions options = WriteOptions.defaults().withThreads(1);
      if (kind.equals("adapter")) {
        try (PeftAdapter adapter = PeftAdapter.open(path);
            ModelVersion model = Checkpoints.open(base)) {
          Checkpoints.write(Patch.from(adapter, model).applyTo(model), work.resolve("out"), options);
        }
      } else if (kind.equals("patch")) {
        try (PatchFile patch = PatchFile.open(path);
            ModelVersion model = Checkpoints.open(base)) {
          Checkpoints.write(patch.patch().applyTo(model), work.resolve("out"), options);
        }
      } else {
        try (ModelVersion model = Checkpoints.open(path)) {
          Checkpoints.write(model, work.resolve("out"), options.recording());
        }
      }
    }

    private static void delete(Path work) throws IOException {
      try (Stream<Path> paths = Files.walk(work)) {
        for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
          if (!path.equals(work)) {
            Files.delete(path);
          }
        }
      }
    }
  }

  private static List<Case> cases(Path root, Path manifest, Path unpacked) throws IOException {
    List<Case> cases = new ArrayList<>();
    for (JsonNode node : new ObjectMapper().readTree(Files.readAllBytes(manifest))) {
      String kind = node.get("kind").textValue();
      Path file = root.resolve(node.get("file").textValue());
      Path path = kind.equals("index") ? file.getParent() : present(file, unpacked);
      cases.add(new Case(kind, path, root.resolve("adapter/base"), node.get("valid").booleanValue(), node.get("rule").textValue()));
    }
    return cases;
  }

  private static Path present(Path file, Path unpacked) throws IOException {
    if (Files.exists(file)) {
      return file;
    }
    Path copy = unpacked.resolve(file.getFileName());
    try (InputStream packed = new GZIPInputStream(Files.newInputStream(file.resolveSibling(file.getFileName() + ".gz")))) {
      Files.copy(packed, copy);
    }
    return copy;
  }

  private static Path bundled() throws URISyntaxException {
    return Path.of(ContractTest.class.getResource("/torture/manifest.json").toURI()).getParent();
  }

  private List<String[]> run(List<Case> cases) throws Exception {
    Path work = Files.createDirectory(dir.resolve("work"));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Xmx64m", "-XX:MaxDirectMemorySize=32m", "-cp", System.getProperty("java.class.path"), Child.class.getName()));
    command.add(work.toString());
    cases.forEach(c -> command.addAll(c.arguments()));
    Process child = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, child.waitFor(), output);
    List<String[]> verdicts = output.lines().map(line -> line.split("\u0001", -1)).toList();
    assertEquals(cases.size(), verdicts.size(), output);
    return verdicts;
  }

  private void check(List<Case> cases) throws Exception {
    List<String> wrong = new ArrayList<>();
    List<String[]> verdicts = run(cases);
    for (int i = 0; i < cases.size(); i++) {
      Case c = cases.get(i);
      String[] found = verdicts.get(i);
      String message = found[3];
      boolean refused = found[0].equals(c.rule) || c.kind.equals("adapter") && found[0].equals("incompatible");
      boolean right = c.valid ? found[0].equals("read") : refused;
      boolean leftNothing = found[2].equals(c.valid ? "[out]" : "[]");
      // Refusals of models that do not fit list every mismatch.
      boolean whole = found[0].equals("incompatible") || message.startsWith("[") && message.length() < 1000;
      boolean safe = c.valid || whole && message.codePoints().noneMatch(ContractTest::isUnsafe);
      if (!right || !leftNothing || !safe) {
        wrong.add(c.path + ": " + String.join(" | ", found));
      }
    }
    System.getLogger(ContractTest.class.getName())
        .log(
            System.Logger.Level.INFO,
            cases.size() + " cases, ms of processor time: refused " + slowest(cases, verdicts, false) + ", read "
                + slowest(cases, verdicts, true));
    assertEquals(List.of(), wrong);
  }

  /** The slowest cases; the first of a process loads classes. */
  private static List<String> slowest(List<Case> cases, List<String[]> verdicts, boolean valid) {
    return IntStream.range(0, cases.size())
        .filter(i -> cases.get(i).valid == valid)
        .boxed()
        .sorted(Comparator.comparing(i -> -Long.parseLong(verdicts.get(i)[1])))
        .limit(3)
        .map(i -> "no. " + i + " " + cases.get(i).path.getFileName() + " " + verdicts.get(i)[1])
        .toList();
  }

  /** Would forge lines, or turn text around. */
  private static boolean isUnsafe(int c) {
    return Character.isISOControl(c) && c != 2 || Character.getType(c) == Character.FORMAT;
  }

  @Test
  void everySharedFileIsReadOrRefusedAndLeavesNothing() throws Exception {
    assumeTrue(Files.isDirectory(SHARED), "no shared torture set");
    Map<String, String> before = Trees.contents(SHARED);

    check(cases(SHARED, SHARED.resolve("manifest.json"), dir));

    assertEquals(before, Trees.contents(SHARED));
  }

  @Test
  void everyBundledFileIsReadOrRefusedAndLeavesNothing() throws Exception {
    Map<String, String> before = Trees.contents(bundled());

    List<Case> cases = new ArrayList<>(cases(bundled(), bundled().resolve("manifest.json"), dir));
    cases.addAll(cases(bundled(), bundled().resolve("adapter/manifest.json"), dir));
    check(cases);

    assertEquals(before, Trees.contents(bundled()));
  }

  /** A safetensors file whose header is {@code text}. */
  private Path header(String name, String text, long more) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    Path file = dir.resolve(name);
    ByteBuffer start = ByteBuffer.allocate(8 + bytes.length).order(ByteOrder.LITTLE_ENDIAN).putLong(bytes.length + more).put(bytes);
    try (FileChannel out = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      out.write(start.flip());
      if (more > 0) {
        // Blanks would do as well, but a hole takes no room.
        out.write(ByteBuffer.allocate(1), 8 + bytes.length + more - 1);
      }
    }
    return file;
  }

  @Test
  void headersThatTakeMoreMemoryThanThereIsAreRefused() throws Exception {
    StringBuilder entries = new StringBuilder("{\"__metadata__\":{");
    for (int i = 0; i < 1_500_000; i++) {
      entries.append(i == 0 ? "\"" : ",\"").append(Integer.toString(i, 36)).append("\":\"\"");
    }
    Path metadata = header("metadata.safetensors", entries.append("}}").toString(), 0);
    Path huge = header("huge.safetensors", "{}", 99_999_998);

    List<String[]> found = run(List.of(new Case("safetensors", metadata, dir, false, ""), new Case("safetensors", huge, dir, false, "")));

    assertEquals("ST-META", found.get(0)[0], () -> String.join(" ", found.get(0)));
    assertTrue(found.get(0)[3].contains("__metadata__ has more than 100000 entries"), found.get(0)[3]);
    assertEquals(
        "java.io.IOException: [" + huge + "] the header of 100000000 bytes does not fit into the memory of this JVM", found.get(1)[3]);
    assertEquals("[]", found.get(1)[2]);
  }

  @Test
  void aHundredThousandEntriesOfMetadataAreRead() throws IOException {
    Map<String, Boolean> opens = new LinkedHashMap<>();
    for (int count : new int[] {100_000, 100_001}) {
      StringBuilder entries = new StringBuilder("{\"__metadata__\":{");
      for (int i = 0; i < count; i++) {
        entries.append(i == 0 ? "\"" : ",\"").append(i).append("\":\"\"");
      }
      try (ModelVersion model = Checkpoints.open(header(count + ".safetensors", entries.append("}}").toString(), 0))) {
        assertEquals(count, model.shards().get(0).metadata().size());
        opens.put("" + count, true);
      } catch (MalformedModelException e) {
        assertEquals("ST-META", e.rule());
        opens.put("" + count, false);
      }
    }
    assertEquals(Map.of("100000", true, "100001", false), opens);
  }
}
