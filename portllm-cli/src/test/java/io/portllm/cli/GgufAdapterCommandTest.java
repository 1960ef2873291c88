package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** LoRA adapters for llama.cpp as a user makes and takes them, on the demo's models. */
class GgufAdapterCommandTest {
  @TempDir private Path folder;

  private Path adapter;

  private record Result(int exitCode, String err) {}

  private static Result run(Object... arguments) {
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(new StringWriter())).setErr(new PrintWriter(err, true));
    int exitCode = command.execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
    return new Result(exitCode, err.toString());
  }

  private static void assertDone(Object... arguments) {
    Result result = run(arguments);
    assertEquals(0, result.exitCode(), result.err());
  }

  private static Path model(String name) {
    try {
      return Path.of(Main.class.getResource("demo/models/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private byte[] weights(String output) throws IOException {
    return Files.readAllBytes(folder.resolve(output).resolve("model.safetensors"));
  }

  @BeforeEach
  void exportAdapter() {
    adapter = folder.resolve("climbs.gguf");
    assertDone("export", model("climbs-lora"), "--format", "gguf-lora", "--base", model("v1"), "-o", adapter);
  }

  @Test
  void anExportedAdapterIsAppliedAndPortedAsTheOneThatItWasMadeOf() throws IOException {
    assertDone("apply", model("climbs-lora"), "--to", model("v2"), "-o", folder.resolve("peft"));
    assertDone("apply", adapter, "--to", model("v2"), "-o", folder.resolve("gguf"));
    assertDone("apply", adapter, "--to", model("v2"), "--base", model("v1"), "-o", folder.resolve("with-base"));
    assertDone("port", "--adapter", adapter, "--base", model("v1"), "--onto", model("v2"), "-o", folder.resolve("ported"));
    assertArrayEquals(weights("peft"), weights("gguf"));
    assertArrayEquals(weights("peft"), weights("with-base"));
    assertArrayEquals(weights("peft"), weights("ported"));
  }

  @Test
  void anExportedAdapterBecomesAPatchFileAndAPeftAdapter() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    assertDone("diff", "--adapter", adapter, "--base", model("v1"), "-o", patch);
    assertDone("export", adapter, "--format", "peft", "--base", model("v1"), "-o", folder.resolve("adapter"));
    assertDone("apply", patch, "--to", model("v2"), "-o", folder.resolve("patch"));
    assertDone("apply", folder.resolve("adapter"), "--to", model("v2"), "-o", folder.resolve("peft"));
    assertArrayEquals(weights("patch"), weights("peft"));
    assertFalse(Arrays.equals(weights("patch"), Files.readAllBytes(model("v2").resolve("model.safetensors"))));
  }

  @Test
  void whatNeedsTheBaseSaysSo() {
    Result baseless = run("export", adapter, "--format", "peft", "-o", folder.resolve("adapter"));
    assertEquals(2, baseless.exitCode());
    assertTrue(baseless.err().contains("needs its base: name it with --base"), baseless.err());
    Result export = run("export", model("climbs-lora"), "--format", "gguf-lora", "-o", folder.resolve("other.gguf"));
    assertEquals(1, export.exitCode());
    assertTrue(export.err().contains("only with its base at hand"), export.err());
    Result merge = run("merge", adapter, model("climbs-lora"), "--method", "sum", "-o", folder.resolve("merged.patch.safetensors"));
    assertEquals(2, merge.exitCode());
    assertTrue(merge.err().contains("make a patch file of it with diff --adapter"), merge.err());
  }

  @Test
  void whatLlamaCppWouldNotApplyIsRefusedOrListed() throws IOException {
    Path patch = folder.resolve("full.patch.safetensors");
    assertDone("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "--rank", "4", "-o", patch);
    Path output = folder.resolve("full.gguf");
    Result refused = run("export", patch, "--format", "gguf-lora", "--base", model("v1"), "-o", output);
    assertEquals(1, refused.exitCode());
    assertTrue(refused.err().contains("'model.norm.weight'"), refused.err());
    assertFalse(Files.exists(output));
    Result listed = run("export", patch, "--format", "gguf-lora", "--base", model("v1"), "-o", output, "--leave-out");
    assertEquals(0, listed.exitCode(), listed.err());
    assertTrue(listed.err().lines().anyMatch(line -> line.startsWith("left out: tensor 'model.norm.weight': ")), listed.err());
    assertTrue(Files.exists(output));
  }
}
