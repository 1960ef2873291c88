package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.io.Requantisation;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The command on GGUF models that llama.cpp converted, outside of this repository. */
class GgufCommandTest {
  private static final Path MODELS = Path.of("../../shared/golden/hf-gguf/llama");

  @TempDir private Path scratch;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void portOntoGgufIsTheConvertedPort() throws IOException {
    assertEquals(0, run("port", "--fine-tuned", model("hf/fine-tuned"), "--base", model("hf/base"), "--onto", model("new-base.gguf"),
        "--proof", model("hf/new-base"), "-o", output("ported.gguf")), err::toString);
    assertEquals(-1, Files.mismatch(MODELS.resolve("ported.gguf"), scratch.resolve("ported.gguf")));
  }

  @Test
  void patchFileOfCheckpointsGoesOntoGguf() throws IOException {
    assertEquals(0, run("diff", "--fine-tuned", model("hf/fine-tuned"), "--base", model("hf/base"), "-o", output("p.patch.safetensors")));
    assertEquals(0, run("apply", output("p.patch.safetensors"), "--to", model("new-base.gguf"), "-o", output("ported.gguf")), err::toString);
    assertEquals(-1, Files.mismatch(MODELS.resolve("ported.gguf"), scratch.resolve("ported.gguf")));
  }

  @Test
  void patchOfGgufFilesGoesOntoItsBase() throws IOException {
    assertEquals(0, run("diff", "--fine-tuned", model("new-base.gguf"), "--base", model("base.gguf"), "-o", output("p.patch.safetensors")));
    assertEquals(0, run("apply", output("p.patch.safetensors"), "--to", model("base.gguf"), "-o", output("made.gguf")), err::toString);
    assertEquals(-1, Files.mismatch(MODELS.resolve("new-base.gguf"), scratch.resolve("made.gguf")));
  }

  @Test
  void adapterTakesGgufFileAsItsBase() throws IOException {
    String adapter = model("adapter");
    assertEquals(0, run("port", "--adapter", adapter, "--base", model("base.gguf"), "--onto", model("new-base.gguf"), "-o", output("one.gguf")));
    assertEquals(0, run("port", "--adapter", adapter, "--base", model("hf/base"), "--onto", model("new-base.gguf"), "-o", output("other.gguf")));
    assertEquals(-1, Files.mismatch(scratch.resolve("one.gguf"), scratch.resolve("other.gguf")));
    assertTrue(Files.mismatch(scratch.resolve("one.gguf"), MODELS.resolve("new-base.gguf")) >= 0);
  }

  @Test
  void proofByAnotherCheckpointRefusesAndWritesNothing() {
    assertEquals(1, run("port", "--fine-tuned", model("hf/fine-tuned"), "--base", model("hf/base"), "--onto", model("new-base.gguf"),
        "--proof", model("hf/base"), "-o", output("ported.gguf")));
    assertTrue(err.toString().contains("was not converted from"), err.toString());
    assertTrue(err.toString().contains("which BF16 does not explain"), err.toString());
    assertFalse(Files.exists(scratch.resolve("ported.gguf")));
  }

  @Test
  void onlyGgufModelsCanBeProven() {
    assertEquals(2, run("port", "--fine-tuned", model("hf/fine-tuned"), "--base", model("hf/base"), "--onto", model("hf/new-base"),
        "--proof", model("hf/new-base"), "-o", output("ported")));
    assertTrue(err.toString().contains("is no GGUF model"), err.toString());
  }

  @Test
  void typesToRaiseToMustBeSuchAsCanBeWritten() {
    assertEquals(2, run("apply", "p", "--to", "n", "-o", "o", "--raise", "q4"));
    assertTrue(err.toString().contains("must be a type such as q4_k, q8_0 or bf16 but was 'q4'"), err.toString());
    assertEquals(2, run("apply", "p", "--to", "n", "-o", "o", "--raise", "iq2_xs"));
    assertTrue(err.toString().contains("can be written without an importance matrix but was IQ2_XS"), err.toString());
  }

  @Test
  void reportSaysWhatQuantisingAgainDidToTheChange() throws IOException {
    WriteReport report =
        new WriteReport(
            Path.of("x.gguf"),
            2,
            100,
            Map.of(),
            Map.of("blk.0.a", new Requantisation(3, 0.5, 1, 4, 10), "blk.0.b", new Requantisation(4, 2, 0.25, 5, 10)),
            Duration.ZERO);
    Reports.print(new PrintWriter(out), report, false);
    // (9 · 1 + 16 · 0.25) / 25, and √(0.25 + 4) / 5.
    assertTrue(
        out.toString().contains("2 tensors quantised again, 9 of 20 blocks: 52.0 % of the change kept, error 0.412 of the change; "
            + "least kept: blk.0.b, 25.0 %"),
        out.toString());
    out.getBuffer().setLength(0);
    Reports.print(new PrintWriter(out), report, true);
    JsonNode json = new ObjectMapper().readTree(out.toString());
    assertEquals(0.52, json.at("/requantisation/kept").asDouble(), 1e-12);
    assertEquals(2, json.at("/requantised/blk.0.b/errorNorm").asDouble());
    assertEquals(4, json.at("/requantised/blk.0.a/changedBlocks").asInt());
  }

  private String output(String name) {
    return scratch.resolve(name).toString();
  }

  private static String model(String name) {
    Assumptions.assumeTrue(Files.exists(MODELS), "needs " + MODELS);
    return MODELS.resolve(name).toString();
  }

  private int run(String... arguments) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    CommandLine command = Main.commandLine();
    command.setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
    return command.execute(arguments);
  }
}
