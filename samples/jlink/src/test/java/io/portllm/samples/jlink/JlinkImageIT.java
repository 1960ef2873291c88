package io.portllm.samples.jlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the application with the image's own Java runtime. */
class JlinkImageIT {
  private static final Path IMAGE = Path.of("target/clinic-port");
  private static final Path MODELS = Path.of("../../portllm-cli/src/main/resources/io/portllm/cli/demo/models");

  @TempDir Path folder;

  @Test
  void portsOnTheRuntimeOfTheImage() throws Exception {
    List<String> arguments = new ArrayList<>();
    if (listModules().contains("jdk.incubator.vector")) {
      arguments.addAll(List.of("--add-modules", "jdk.incubator.vector"));
    }
    arguments.addAll(List.of("-cp", IMAGE.resolve("app") + "/*", "io.portllm.samples.classpath.ClinicPort"));
    for (String model : List.of("climbs-lora", "v1", "v2")) {
      arguments.add(MODELS.resolve(model).toString());
    }
    arguments.add(folder.resolve("ported").toString());
    String printed = run(arguments);
    assertTrue(printed.contains("as recorded: true"), printed);
  }

  @Test
  void hasOnlyTheModulesThatItNeeds() throws Exception {
    String modules = listModules();
    assertTrue(modules.contains("java.base"), modules);
    assertFalse(modules.contains("java.desktop") || modules.contains("java.sql"), modules);
  }

  private String listModules() throws IOException, InterruptedException {
    return run(List.of("--list-modules"));
  }

  private String run(List<String> arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(IMAGE.resolve("bin/java").toString()));
    command.addAll(arguments);
    Path printed = Files.createTempFile(folder, "printed", ".txt");
    int status = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(printed.toFile()).start().waitFor();
    assertEquals(0, status, Files.readString(printed));
    return Files.readString(printed);
  }
}
