package io.portllm.samples.fatjar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the one jar as a process of its own. */
class FatJarIT {
  private static final Path JAR = Path.of("target/clinic-port.jar");
  private static final Path MODELS = Path.of("../../portllm-cli/src/main/resources/io/portllm/cli/demo/models");

  @TempDir Path folder;

  @Test
  void portsWithNothingElseOnTheClassPath() throws Exception {
    List<String> command =
        new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-jar", JAR.toString()));
    for (String model : List.of("climbs-lora", "v1", "v2")) {
      command.add(MODELS.resolve(model).toString());
    }
    command.add(folder.resolve("ported").toString());
    Path printed = folder.resolve("printed.txt");
    int status = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(printed.toFile()).start().waitFor();
    assertEquals(0, status, () -> read(printed));
    assertTrue(read(printed).contains("as recorded: true"), () -> read(printed));
  }

  @Test
  void keepsTheKernelsForNewerJdks() throws Exception {
    try (JarFile jar = new JarFile(JAR.toFile())) {
      assertEquals("true", jar.getManifest().getMainAttributes().getValue("Multi-Release"));
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (java.io.IOException e) {
      return e.toString();
    }
  }
}
