package io.portllm.samples.classpath;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the packaged application with its jars on the class path, as a process of its own. */
class ClinicPortIT {
  private static final Path MODELS = Path.of("../../portllm-cli/src/main/resources/io/portllm/cli/demo/models");

  @TempDir Path folder;

  @Test
  void portsAnAdapterToTheUpdateAndProvesIt() throws Exception {
    assertEquals(0, run("climbs-lora", "v1", "v2"), this::printed);
    List<String> lines = Files.readAllLines(folder.resolve("out.txt"));
    assertTrue(lines.get(0).startsWith("PORT: "), this::printed);
    assertTrue(lines.get(1).startsWith("weights changed: 737280, "), this::printed);
    assertEquals("as recorded: true", lines.get(2));
    assertTrue(Files.isRegularFile(folder.resolve("ported/model.safetensors")));
    assertEquals(List.of(), warnings());
  }

  @Test
  void writesNothingWhereTheReportAdvisesAgainstIt() throws Exception {
    assertEquals(4, run("climbs-lora", "v1", "independent"), this::printed);
    assertTrue(Files.readString(folder.resolve("out.txt")).startsWith("DO_NOT_PORT: "), this::printed);
    assertFalse(Files.exists(folder.resolve("ported")));
  }

  @Test
  void namesWhatIsMissing() throws Exception {
    assertEquals(1, run("climbs-lora", "v1", "v9"), this::printed);
    assertTrue(Files.readString(folder.resolve("err.txt")).contains("v9"), this::printed);
  }

  @Test
  void runsWithoutNd4j() throws IOException {
    try (var jars = Files.list(Path.of("target/lib"))) {
      List<String> names = jars.map(jar -> jar.getFileName().toString()).sorted().toList();
      assertTrue(names.stream().anyMatch(name -> name.startsWith("portllm-core")), names::toString);
      assertTrue(names.stream().noneMatch(name -> name.contains("nd4j")), names::toString);
    }
  }

  /** Standard error without the library's line that names its kernels. */
  private List<String> warnings() throws IOException {
    return Files.readAllLines(folder.resolve("err.txt")).stream().filter(line -> line.contains("WARN")).toList();
  }

  private int run(String adapter, String base, String newBase) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx64m"));
    command.addAll(List.of("-cp", "target/classes" + File.pathSeparator + "target/lib/*", ClinicPort.class.getName()));
    for (String model : List.of(adapter, base, newBase)) {
      command.add(MODELS.resolve(model).toString());
    }
    command.add(folder.resolve("ported").toString());
    return new ProcessBuilder(command)
        .redirectOutput(folder.resolve("out.txt").toFile())
        .redirectError(folder.resolve("err.txt").toFile())
        .start()
        .waitFor();
  }

  private String printed() {
    try {
      return Files.readString(folder.resolve("out.txt")) + Files.readString(folder.resolve("err.txt"));
    } catch (IOException e) {
      return e.toString();
    }
  }
}
