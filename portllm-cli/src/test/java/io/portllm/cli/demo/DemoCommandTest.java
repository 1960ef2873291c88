package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.cli.demo.DemoRow.Figure;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class DemoCommandTest {
  @Test
  void portsTheBundledPatchesAndAgreesWithTheExpectedFigures(@TempDir Path folder) throws IOException {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int exit = new CommandLine(new DemoCommand())
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute("--json", "--keep", folder.toString());
    assertEquals(0, exit, err.toString());

    JsonNode result = new ObjectMapper().readTree(out.toString());
    assertEquals(250, result.path("prompts").intValue());
    assertTrue(result.path("agrees").booleanValue());
    assertEquals(List.of("v1", "v2", "v3", "independent"), result.path("rows").findValuesAsText("base"));
    assertPercent(0, result.path("rows").path(1).path("unpatched"));
    assertPercent(92.8, result.path("rows").path(1).path("lora"));
    assertPercent(0, result.path("rows").path(3).path("lora"));
    assertPercent(56.8, result.path("rows").path(0).path("full"));
    assertTrue(Files.exists(folder.resolve("prompts.json")) && Files.exists(folder.resolve("retain.json")));
    for (String base : List.of("v1", "v2", "v3", "independent")) {
      assertTrue(Files.exists(folder.resolve("climbs-lora-on-" + base + "/tokenizer.json")));
      assertTrue(Files.exists(folder.resolve("climbs-full-on-" + base + "/model.safetensors")));
    }
  }

  @Test
  void figuresMoreThanAPointOffFailInOneLine() throws IOException {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    DemoCommand command = new DemoCommand();
    new CommandLine(command).setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
    assertEquals(1, command.report(List.of(new DemoRow("v2", base(0, 0), ported(91.7, 92.8), ported(1, 2.5))), 250));
    assertEquals(
        "figures differ from the expected ones by more than a point: "
            + "v2 with the LoRA patch 91.7 instead of 92.8, v2 with the full-weight patch 1.0 instead of 2.5",
        err.toString().strip());
    assertTrue(out.toString().contains("91.7 (92.8)"), out.toString());
  }

  @Test
  void figuresAPointOffAgree() {
    assertTrue(base(91.8, 92.8).agrees());
    assertTrue(base(93.8, 92.8).agrees());
    assertFalse(base(94, 92.8).agrees());
    assertFalse(base(Double.NaN, 92.8).agrees());
  }

  @Test
  void theTableShowsEveryFigureBesideTheExpectedOne() {
    String table = DemoCommand.table(List.of(new DemoRow("v3", base(0, 0.4), ported(89.25, 89.2), ported(3.2, 4))), 250);
    assertEquals(
        """
        climbs(x)=, 250 prompts: % right (expected), and the time of the port

        base         no patch         LoRA patch ported          full-weight patch ported
        v3             0.0 (0.4)       89.3 (89.2)       12 ms     3.2 (4.0)        12 ms
        """,
        table);
  }

  private static Figure base(double percent, double expected) {
    return new Figure(percent, expected, Optional.empty());
  }

  private static Figure ported(double percent, double expected) {
    return new Figure(percent, expected, Optional.of(Duration.ofMillis(12)));
  }

  private static void assertPercent(double expected, JsonNode figure) {
    assertEquals(expected, figure.path("expected").doubleValue());
    assertEquals(expected, figure.path("percent").doubleValue(), 1);
  }
}
