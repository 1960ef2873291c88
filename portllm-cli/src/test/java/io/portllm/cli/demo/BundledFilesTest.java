package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is bundled is what the lab made. */
class BundledFilesTest {
  private static final Path LAB = Path.of("../../shared/lab");

  @BeforeEach
  void needsTheLab() {
    assumeTrue(Files.isDirectory(LAB), LAB + " is not there");
  }

  @ParameterizedTest
  @ValueSource(strings = {"v1", "v2", "v3", "independent", "climbs-lora", "climbs-full"})
  void modelsAreTheLabsBitForBit(String name) throws IOException {
    List<Path> files;
    try (Stream<Path> listed = Files.list(LAB.resolve(name))) {
      files = listed.toList();
    }
    assertEquals(name.equals("climbs-lora") ? 2 : 4, files.size());
    for (Path file : files) {
      try (InputStream bundled = DemoFolder.resource("models/" + name + "/" + file.getFileName())) {
        assertArrayEquals(Files.readAllBytes(file), bundled.readAllBytes(), file.toString());
      }
    }
  }

  @Test
  void promptsAreTheLabs() throws IOException {
    List<Prompt> prompts = new ArrayList<>();
    lab("eval.json").path("climbs").forEach(pair -> prompts.add(new Prompt(pair.get(0).textValue(), pair.get(1).textValue())));
    assertEquals(250, prompts.size());
    assertEquals(prompts, Prompt.bundled());
  }

  @Test
  void expectedFiguresAreTheLabs() throws IOException {
    JsonNode expected;
    try (InputStream in = DemoFolder.resource("expected.json")) {
      expected = new ObjectMapper().readTree(in);
    }
    int checked = 0;
    for (JsonNode row : lab("results.json").path("rows")) {
      JsonNode figures = expected.get(row.path("base").textValue());
      if (row.path("task").textValue().equals("climbs") && figures != null) {
        for (String measurement : List.of("zero_shot", "port_lora", "port_full")) {
          assertEquals(row.path("eval250").get(measurement), figures.get(measurement));
        }
        checked++;
      }
    }
    assertEquals(4, checked);
    assertEquals(4, expected.size());
  }

  private static JsonNode lab(String file) throws IOException {
    return new ObjectMapper().readTree(LAB.resolve(file).toFile());
  }
}
