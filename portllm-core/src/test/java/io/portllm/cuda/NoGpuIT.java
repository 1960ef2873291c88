package io.portllm.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Merger;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The packaged jar on a machine without a GPU. Skipped where there is one. */
class NoGpuIT {
  private static final Pattern LOADED = Pattern.compile("\\b(io\\.portllm\\.internal\\.cuda\\.[\\w$]+) source:");

  @BeforeAll
  static void needsNoGpu() {
    if (Cuda.problem().isEmpty()) {
      Assumptions.abort("there is a GPU");
    }
  }

  /** Run in a JVM of its own. */
  public static void main(String[] args) {
    System.out.println("merger " + Merger.cuda() + " " + (Merger.cuda() == Merger.fastest()));
  }

  @Test
  void theFallbackIsTheFastestMergerWithOneLineOfLogAndNoClassOfTheGpuPath() throws IOException {
    String output = run("-Xlog:class+load");

    List<String> merger = output.lines().filter(line -> line.startsWith("merger ")).toList();
    assertEquals(List.of("merger staged true"), merger);
    List<String> log = output.lines().filter(line -> line.contains("no CUDA: ")).toList();
    assertEquals(1, log.size(), log.toString());
    assertTrue(log.get(0).contains(Cuda.problem().orElseThrow()), log.toString());
    Set<String> loaded = new TreeSet<>();
    Matcher matcher = LOADED.matcher(output);
    while (matcher.find()) {
      loaded.add(matcher.group(1));
    }
    loaded.removeAll(Set.of(
        "io.portllm.internal.cuda.Gpu", "io.portllm.internal.cuda.Devices", "io.portllm.internal.cuda.Devices$Found"));
    assertEquals(Set.of(), loaded);
  }

  @Test
  void aModelCannotBeLoadedAndItIsSaidWhy() {
    IllegalStateException refused =
        assertThrows(IllegalStateException.class, () -> ResidentModel.load(MemoryModel.named("any").build(), Originals.KEPT));
    assertEquals(Cuda.problem().orElseThrow(), refused.getMessage());
  }

  private static String run(String option) throws IOException {
    String path = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    Process process = new ProcessBuilder(java, option, "-cp", path, NoGpuIT.class.getName()).redirectErrorStream(true).start();
    try (InputStream output = process.getInputStream()) {
      return new String(output.readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
