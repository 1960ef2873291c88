package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.cuda.Cuda;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The commands as a user runs them, on the demo's models. */
class CommandTest {
  @TempDir private Path folder;

  private record Result(int exitCode, String out, String err) {}

  private static Result run(Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err, true));
    int exitCode = command.execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
    return new Result(exitCode, out.toString(), err.toString());
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

  private Result port(String output, Object... more) {
    List<Object> arguments =
        List.of("port", "--adapter", model("climbs-lora"), "--base", model("v1"), "--onto", model("v2"), "-o", folder.resolve(output));
    return run(Stream.concat(arguments.stream(), Arrays.stream(more)).toArray());
  }

  private static void assertOneLine(String text) {
    assertEquals(1, text.lines().count(), text);
  }

  @Test
  void portingAnAdapterEqualsSavingItAndApplyingTheFile() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    assertEquals(0, port("ported").exitCode());
    assertEquals(0, run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch).exitCode());
    assertEquals(0, run("apply", patch, "--to", model("v2"), "-o", folder.resolve("applied")).exitCode());
    assertEquals(0, run("apply", model("climbs-lora"), "--to", model("v2"), "-o", folder.resolve("direct")).exitCode());
    assertArrayEquals(weights("ported"), weights("applied"));
    assertArrayEquals(weights("ported"), weights("direct"));
    assertFalse(Arrays.equals(weights("ported"), Files.readAllBytes(model("v2").resolve("model.safetensors"))));
  }

  @Test
  void portingAFullTuneEqualsSavingItAndApplyingTheFile() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    Result ported =
        run("port", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "--onto", model("v3"), "-o", folder.resolve("ported"));
    assertEquals(0, ported.exitCode(), ported.err());
    assertEquals(0, run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch).exitCode());
    assertEquals(0, run("apply", patch, "--to", model("v3"), "-o", folder.resolve("applied")).exitCode());
    assertArrayEquals(weights("ported"), weights("applied"));
  }

  @Test
  void thePortKeepsTheNewBasesSideFiles() throws IOException {
    port("ported");
    for (String file : List.of("config.json", "tokenizer.json", "tokenizer_config.json")) {
      assertArrayEquals(Files.readAllBytes(model("v2").resolve(file)), Files.readAllBytes(folder.resolve("ported").resolve(file)), file);
    }
  }

  @Test
  void aPortOntoItsOwnBaseOfTheFullTuneIsTheFullTune() throws IOException {
    run("port", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "--onto", model("v1"), "-o", folder.resolve("ported"));
    byte[] tuned = Files.readAllBytes(model("climbs-full").resolve("model.safetensors"));
    byte[] ported = weights("ported");
    assertEquals(tuned.length, ported.length);
    int different = 0;
    for (int i = 0; i < tuned.length; i += 2) {
      different += tuned[i] == ported[i] && tuned[i + 1] == ported[i + 1] ? 0 : 1;
    }
    // v1 + (tuned - v1) rounds back to tuned but for weights whose difference float32 cannot hold; there are few.
    assertTrue(different < tuned.length / 2 / 10_000, different + " weights differ");
  }

  @Test
  void scaleZeroAndNoMatchingChangeLeaveTheNewBase() throws IOException {
    byte[] newBase = Files.readAllBytes(model("v2").resolve("model.safetensors"));
    assertEquals(0, port("zero", "--scale", 0).exitCode());
    assertArrayEquals(newBase, weights("zero"));
    assertEquals(0, port("none", "--except", "*").exitCode());
    assertArrayEquals(newBase, weights("none"));
  }

  @Test
  void onlyAndExceptChooseComplementaryTensors() throws IOException {
    Result only = port("only", "--json", "--only", "*.self_attn.*");
    Result except = port("except", "--json", "--except", "*.self_attn.*");
    ObjectMapper json = new ObjectMapper();
    assertEquals(16, json.readTree(only.out()).get("changed").size());
    assertEquals(12, json.readTree(except.out()).get("changed").size());
  }

  @Test
  void theJsonReportCountsWhatRoundingDid() throws IOException {
    JsonNode report = new ObjectMapper().readTree(port("ported", "--json").out());
    assertEquals(39, report.get("tensors").asInt());
    assertEquals(1_612_032, report.get("bytes").asLong());
    assertEquals(28, report.get("changed").size());
    long touched = report.get("rounding").get("touched").asLong();
    long sum = 0;
    for (JsonNode tensor : report.get("changed")) {
      sum += tensor.get("touched").asLong();
    }
    assertEquals(737_280, touched);
    assertEquals(touched, sum);
    assertTrue(report.get("rounding").get("vanished").asLong() > 0);
    assertEquals(0, report.get("rounding").get("overflowed").asLong());
  }

  @Test
  void anExistingOutputIsRefusedUntouchedAndReplacedByForce() throws IOException {
    assertEquals(0, port("out", "--scale", 0.5).exitCode());
    byte[] before = weights("out");
    Result refused = port("out");
    assertEquals(1, refused.exitCode());
    assertOneLine(refused.err());
    assertTrue(refused.err().endsWith("exists, and was not to be overwritten (--force overwrites)" + System.lineSeparator()), refused.err());
    assertArrayEquals(before, weights("out"));
    assertEquals(0, port("out", "--force").exitCode());
    assertFalse(Arrays.equals(before, weights("out")));
  }

  @Test
  void modelsThatDoNotFitAreRefusedInOneLineAndLeaveNothing() throws IOException {
    Path other = folder.resolve("other");
    Files.createDirectory(other);
    Files.copy(model("climbs-lora").resolve("adapter_model.safetensors"), other.resolve("model.safetensors"));
    Result result = run("port", "--fine-tuned", other, "--base", model("v1"), "--onto", model("v2"), "-o", folder.resolve("out"));
    assertEquals(1, result.exitCode());
    assertOneLine(result.err());
    assertTrue(result.err().contains("tensor 'lm_head.weight': is in the base but not in the fine-tuned model (allowed by missing-tensors)"), result.err());
    assertTrue(result.err().contains("(allowed by extra-tensors)"), result.err());
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(List.of(other), left.toList());
    }
  }

  @Test
  void aMissingPathIsNamed() {
    Result result = run("info", folder.resolve("nothing"));
    assertEquals(1, result.exitCode());
    assertEquals("portllm: [" + folder.resolve("nothing") + "] does not exist" + System.lineSeparator(), result.err());
  }

  @Test
  void wrongUsageExitsWithTwo() {
    assertEquals(2, run("port").exitCode());
    assertEquals(2, run("nonsense").exitCode());
    assertEquals(2, port("out", "--allow", "everything").exitCode());
    assertEquals(2, port("out", "--threads", 0).exitCode());
    Result glob = port("out", "--only", "nothing.*");
    assertEquals(2, glob.exitCode());
    assertEquals("portllm: pattern 'nothing.*' matches none of the 28 tensors of the patch" + System.lineSeparator(), glob.err());
    assertFalse(Files.exists(folder.resolve("out")));
  }

  @Test
  void theNumberOfThreadsChangesNoByte() throws IOException {
    port("one", "--threads", 1);
    port("five", "--threads", 5);
    assertArrayEquals(weights("one"), weights("five"));
  }

  @Test
  void infoTellsModelsPatchesAndAdaptersApart() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch);
    ObjectMapper json = new ObjectMapper();
    JsonNode modelInfo = json.readTree(run("info", model("v1"), "--json").out());
    JsonNode patchInfo = json.readTree(run("info", patch, "--json").out());
    JsonNode adapterInfo = json.readTree(run("info", model("climbs-lora"), "--json").out());
    assertEquals("model", modelInfo.get("kind").asText());
    assertEquals("patch", patchInfo.get("kind").asText());
    assertEquals("PEFT adapter", adapterInfo.get("kind").asText());
    assertEquals(modelInfo.get("fingerprint"), patchInfo.get("base").get("fingerprint"));
    assertEquals(39, modelInfo.get("files").get(0).get("tensors").size());
    assertEquals("low rank 8", patchInfo.get("changes").get(0).get("change").asText());
    assertTrue(run("info", model("v1")).out().contains("806,016 weights in 39 tensors"));
    assertTrue(run("info", patch).out().contains("made on v1, fingerprint " + modelInfo.get("fingerprint").asText()));
  }

  @Test
  void infoTellsWhatAGgufFileSaysOfItself() throws IOException {
    Path file = Path.of("../portllm-io/src/test/resources/golden/gguf/tiny.gguf");
    JsonNode info = new ObjectMapper().readTree(run("info", file, "--json").out());
    String text = run("info", file).out();

    assertEquals("llama", info.at("/gguf/architecture").asText());
    assertEquals(3, info.at("/gguf/version").asInt());
    assertEquals(32, info.at("/gguf/alignment").asInt());
    assertEquals("4294967295", info.at("/gguf/metadata/t.u32").asText());
    assertEquals(1, info.at("/types/TQ1_0").asInt());
    assertTrue(text.contains("GGUF version 3, aligned to 32 bytes\narchitecture llama\n".replace("\n", System.lineSeparator())), text);
    assertTrue(text.contains("Q4_0 (1 tensors)"), text);
    assertTrue(text.contains("  tokenizer.ggml.tokens = (3 x STRING)"), text);
    assertTrue(text.contains("  blk.Q8_0 Q8_0 [3, 256]"), text);
    assertTrue(text.contains("fingerprint " + info.get("fingerprint").asText()), text);
  }

  @Test
  void exactPatchesOfGgufFilesAreMadeAppliedAndUndone() throws IOException {
    byte[] base = Files.readAllBytes(Path.of("../portllm-io/src/test/resources/golden/gguf/tiny.gguf"));
    byte[] tuned = base.clone();
    tuned[tuned.length - 50] ^= 1;
    Path baseFile = Files.write(folder.resolve("base.gguf"), base);
    Path tunedFile = Files.write(folder.resolve("tuned.gguf"), tuned);
    Path patch = folder.resolve("p.patch.safetensors");
    Path applied = folder.resolve("applied.gguf");

    assertEquals(0, run("diff", "--exact", "--fine-tuned", tunedFile, "--base", baseFile, "-o", patch).exitCode());
    assertEquals(0, run("apply", patch, "--to", baseFile, "-o", applied).exitCode());
    assertArrayEquals(tuned, Files.readAllBytes(applied));
    assertEquals(0, run("undo", applied, "--patch", patch, "-o", folder.resolve("undone.gguf")).exitCode());
    assertArrayEquals(base, Files.readAllBytes(folder.resolve("undone.gguf")));
  }

  @Test
  void aPatchFileIsNoModelToPortOnto() {
    Path patch = folder.resolve("climbs.patch.safetensors");
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch);
    Result result = run("apply", patch, "--to", patch, "-o", folder.resolve("out.safetensors"));
    assertEquals(1, result.exitCode());
    assertOneLine(result.err());
    assertFalse(Files.exists(folder.resolve("out.safetensors")));
  }

  private Path exactPatch(String base, String tuned) {
    Path patch = folder.resolve(base + "-" + tuned + ".patch.safetensors");
    Result result = run("diff", "--exact", "--fine-tuned", model(tuned), "--base", model(base), "-o", patch);
    assertEquals(0, result.exitCode(), result.err());
    return patch;
  }

  @Test
  void anExactPatchMakesTheFullTuneAndUndoTheBaseByteForByte() throws IOException {
    for (String tuned : List.of("climbs-full", "v2", "independent")) {
      Path patch = exactPatch("v1", tuned);
      assertTrue(Files.size(patch) < Files.size(model(tuned).resolve("model.safetensors")), tuned);
      assertEquals(0, run("apply", patch, "--to", model("v1"), "-o", folder.resolve(tuned)).exitCode());
      assertArrayEquals(Files.readAllBytes(model(tuned).resolve("model.safetensors")), weights(tuned));
      assertEquals(0, run("undo", folder.resolve(tuned), "--patch", patch, "-o", folder.resolve(tuned + "-undone")).exitCode());
      assertArrayEquals(Files.readAllBytes(model("v1").resolve("model.safetensors")), weights(tuned + "-undone"));
    }
  }

  @Test
  void anExactPatchOfAnAdapterMakesItsPortOntoItsOwnBase() throws IOException {
    Path patch = folder.resolve("lora.patch.safetensors");
    assertEquals(0, run("diff", "--exact", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch).exitCode());
    assertEquals(0, run("apply", model("climbs-lora"), "--to", model("v1"), "-o", folder.resolve("merged")).exitCode());
    assertEquals(0, run("apply", patch, "--to", model("v1"), "-o", folder.resolve("applied")).exitCode());
    assertArrayEquals(weights("merged"), weights("applied"));
    assertEquals(0, run("undo", folder.resolve("merged"), "--patch", patch, "-o", folder.resolve("undone")).exitCode());
    assertArrayEquals(Files.readAllBytes(model("v1").resolve("model.safetensors")), weights("undone"));
    assertTrue(run("info", patch).out().contains("model.layers.0.self_attn.q_proj.weight exact [128, 128]"), run("info", patch).out());
  }

  @Test
  void exactPatchesAreRefusedByOtherModelsAndTheWrongWayRound() {
    Path patch = exactPatch("v1", "climbs-full");
    Path out = folder.resolve("out");
    Result other = run("apply", patch, "--to", model("v2"), "-o", out);
    Result twice = run("apply", patch, "--to", model("climbs-full"), "-o", out);
    Result reverse = run("undo", model("v1"), "--patch", patch, "-o", out);
    Result scaled = run("apply", patch, "--to", model("v1"), "-o", out, "--scale", 0.5);
    for (Result refused : List.of(other, twice, reverse, scaled)) {
      assertEquals(1, refused.exitCode());
      assertOneLine(refused.err());
    }
    assertTrue(other.err().contains("(a patch that is not exact can be ported): tensor 'lm_head.weight': has the digest"), other.err());
    assertFalse(other.err().contains("applied already"), other.err());
    assertTrue(twice.err().contains("the patch was applied already"), twice.err());
    assertTrue(reverse.err().contains("the patch was applied already"), reverse.err());
    assertTrue(scaled.err().contains("cannot be scaled"), scaled.err());
    assertFalse(Files.exists(out));
  }

  @Test
  void onlyExactPatchesAreUndone() {
    Path patch = folder.resolve("climbs.patch.safetensors");
    run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch);
    Result result = run("undo", model("climbs-full"), "--patch", patch, "-o", folder.resolve("out"));
    assertEquals(1, result.exitCode());
    assertEquals(
        "portllm: the patch 'climbs-full - v1' is not exact, and only exact patches can be taken back" + System.lineSeparator(),
        result.err());
    assertEquals(2, run("undo", model("climbs-full"), "-o", folder.resolve("out")).exitCode());
  }

  private Result compressed(Path patch, Object... more) {
    List<Object> arguments = List.of("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--force");
    return run(Stream.concat(arguments.stream(), Arrays.stream(more)).toArray());
  }

  @Test
  void compressedPatchesStateSizeRatioAndError() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    Result four = compressed(patch, "--bits", 4, "--no-sketches");
    assertEquals(0, four.exitCode(), four.err());
    assertEquals(
        "1/3.7 of the 1.6 MB of the tensors it changes; relative error 0.07160, 9 of 39 changes kept whole",
        four.out().lines().toList().get(1));
    Result info = run("info", patch);
    assertTrue(info.out().contains("recipe (climbs-full - v1) at 4 bits, relative error 0.07160"), info.out());
    assertTrue(info.out().contains("model.layers.0.mlp.down_proj.weight 4 bits "), info.out());

    Object[] all =
        {"--density", 0.1, "--rescale", "--bits", 1, "--group", 64, "--compress", "*_proj.weight", "--json", "--threads", 3};
    JsonNode sparse = new ObjectMapper().readTree(compressed(patch, all).out());
    assertTrue(sparse.get("relativeError").asDouble() > 0.1 && sparse.get("ratio").asDouble() > 1, sparse.toString());
    assertEquals(0, sparse.get("errors").get("model.norm.weight").asDouble());
    assertTrue(sparse.get("errors").get("model.layers.0.mlp.down_proj.weight").asDouble() > 0);
    assertTrue(run("info", patch).out().contains(" weights in 1 bit * "));
    assertEquals(0, run("apply", patch, "--to", model("v2"), "-o", folder.resolve("applied")).exitCode());

    byte[] rows = Files.readAllBytes(patchOf(patch, "--bits", 1, "--group", "row", "--threads", 1));
    assertArrayEquals(rows, Files.readAllBytes(patchOf(patch, "--bits", 1, "--group", "row", "--threads", 4)));
    assertFalse(Arrays.equals(rows, Files.readAllBytes(patchOf(patch, "--bits", 1, "--group", "matrix"))));
  }

  private Path patchOf(Path patch, Object... options) {
    Result result = compressed(patch, options);
    assertEquals(0, result.exitCode(), result.err());
    return patch;
  }

  @Test
  void compressionThatMakesNoSenseIsWrongUsage() {
    Path patch = folder.resolve("climbs.patch.safetensors");
    for (List<Object> options :
        List.<List<Object>>of(
            List.of("--bits", 5),
            List.of("--density", 0),
            List.of("--density", 1.5),
            List.of("--rescale"),
            List.of("--bits", 4, "--rescale"),
            List.of("--bits", 4, "--exact"),
            List.of("--group", 8),
            List.of("--bits", 4, "--group", 12),
            List.of("--bits", 4, "--group", "column"),
            List.of("--bits", 4, "--compress", "nothing"),
            List.of("--compress", "*"))) {
      assertEquals(2, compressed(patch, options.toArray()).exitCode(), options.toString());
    }
    assertFalse(Files.exists(patch));
  }

  @Test
  void adapterThatDependsOnItsBaseIsPortedUnderThePolicyThatIsNamed() throws IOException {
    Path adapter = scalingAdapter();
    Path patch = folder.resolve("scaled.patch.safetensors");
    List<Object> port = List.of("port", "--adapter", adapter, "--base", model("v1"), "--onto", model("v2"));

    assertEquals(0, run(with(port, "-o", folder.resolve("frozen"))).exitCode());
    assertEquals(0, run(with(port, "-o", folder.resolve("named"), "--base-dependent", "freeze")).exitCode());
    assertEquals(0, run(with(port, "-o", folder.resolve("anew"), "--base-dependent", "evaluate")).exitCode());
    assertEquals(0, run("diff", "--adapter", adapter, "--base", model("v1"), "-o", patch).exitCode());
    assertEquals(0, run("apply", patch, "--to", model("v2"), "-o", folder.resolve("saved")).exitCode());
    Path anew = folder.resolve("anew.patch.safetensors");
    assertEquals(0, run("diff", "--adapter", adapter, "--base", model("v1"), "-o", anew, "--base-dependent", "evaluate").exitCode());
    assertEquals(0, run("apply", anew, "--to", model("v2"), "-o", folder.resolve("anew-saved")).exitCode());

    assertArrayEquals(weights("frozen"), weights("named"));
    assertArrayEquals(weights("frozen"), weights("saved"));
    assertArrayEquals(weights("anew"), weights("anew-saved"));
    assertFalse(Arrays.equals(weights("frozen"), weights("anew")));
  }

  @Test
  void aGpuThatThereIsNotIsRefusedInOneLineBeforeAnythingIsWritten() throws IOException {
    String problem = Cuda.problem().orElse(null);
    if (problem == null) {
      Assumptions.abort("there is a GPU");
    }
    Path out = folder.resolve("out");
    List<Object> port = List.of("port", "--adapter", model("climbs-lora"), "--base", model("v1"), "--onto", model("v2"), "-o", out);

    Result refused = run(with(port, "--device", "cuda"));

    assertEquals(1, refused.exitCode());
    assertOneLine(refused.err());
    assertTrue(refused.err().contains("--device cuda") && refused.err().contains(problem), refused.err());
    assertEquals(1, run("apply", model("climbs-lora"), "--to", model("v2"), "-o", out, "--device", "cuda").exitCode());
    assertEquals(2, run(with(port, "--device", "tpu")).exitCode());
    assertFalse(Files.exists(out));
    assertEquals(0, run(with(port, "--device", "cpu")).exitCode());
  }

  @Test
  void policyThatCannotBeFollowedIsRefusedInOneLineThatNamesTheOption() throws IOException {
    Path adapter = scalingAdapter();
    Result baseless = run("apply", adapter, "--to", model("v2"), "-o", folder.resolve("out"));
    assertEquals(1, baseless.exitCode());
    assertOneLine(baseless.err());
    assertTrue(baseless.err().contains("give its base"), baseless.err());

    Result unknown = run("apply", adapter, "--to", model("v2"), "-o", folder.resolve("out"), "--base-dependent", "guess");
    assertEquals(2, unknown.exitCode());
    assertTrue(unknown.err().contains("must be freeze or evaluate but was 'guess'"), unknown.err());
  }

  private static Object[] with(List<Object> arguments, Object... more) {
    return Stream.concat(arguments.stream(), Arrays.stream(more)).toArray();
  }

  /** An IA3 adapter that multiplies the 128 outputs of one layer by numbers around 1. */
  private Path scalingAdapter() throws IOException {
    Path adapter = Files.createDirectory(folder.resolve("scaling"));
    Files.writeString(adapter.resolve("adapter_config.json"), "{\"peft_type\": \"IA3\", \"feedforward_modules\": []}");
    String header =
        "{\"base_model.model.model.layers.0.self_attn.q_proj.ia3_l\":{\"dtype\":\"F32\",\"shape\":[128,1],\"data_offsets\":[0,512]}}";
    ByteBuffer file = ByteBuffer.allocate(8 + header.length() + 512).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(header.length()).put(header.getBytes(StandardCharsets.US_ASCII));
    for (int output = 0; output < 128; output++) {
      file.putFloat(1 + 0.01f * (output % 16));
    }
    Files.write(adapter.resolve("adapter_model.safetensors"), file.array());
    return adapter;
  }

  @Test
  void aLowRankPatchIsSmallerAndItsErrorIsReported() throws IOException {
    Path full = folder.resolve("full.patch.safetensors");
    Path small = folder.resolve("small.patch.safetensors");
    List<Object> diff = List.of("diff", "--no-sketches", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o");
    run(Stream.concat(diff.stream(), Stream.of(full)).toArray());
    Result text = run(Stream.concat(diff.stream(), Stream.of(small, "--rank", 8)).toArray());
    assertEquals(0, text.exitCode(), text.err());
    assertTrue(text.out().contains("28 tensors as factors of rank 8 to 8, 10 whole, 1 by rows, 0 unchanged; relative error 0.2768"), text.out());
    assertTrue(Files.size(small) < Files.size(full) / 5);
    byte[] first = Files.readAllBytes(small);
    Result json = run(Stream.concat(diff.stream(), Stream.of(small, "--rank", 8, "--threads", 1, "--force", "--json")).toArray());
    assertArrayEquals(first, Files.readAllBytes(small));
    JsonNode lowRank = new ObjectMapper().readTree(json.out()).get("lowRank");
    assertEquals(0.2768, lowRank.get("relativeError").asDouble(), 5e-5);
    assertEquals(39, lowRank.get("tensors").size());
    JsonNode tensor = lowRank.get("tensors").get("model.layers.0.self_attn.q_proj.weight");
    assertEquals("factors", tensor.get("form").asText());
    assertEquals(8, tensor.get("rank").asInt());
    assertEquals(8 * (128 + 128), tensor.get("stored").asInt());
  }

  @Test
  void energyChoosesRanksUpToALimit() throws IOException {
    Object[] diff = {"diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", folder.resolve("p.patch.safetensors")};
    Result free = run(Stream.concat(Arrays.stream(diff), Stream.of("--energy", 0.9)).toArray());
    assertTrue(free.out().startsWith("28 tensors as factors of rank 2 to 15, "), free.out());
    Result limited = run(Stream.concat(Arrays.stream(diff), Stream.of("--energy", 0.9, "--max-rank", 4, "--force")).toArray());
    assertTrue(limited.out().startsWith("28 tensors as factors of rank 2 to 4, "), limited.out());
    assertEquals(2, run(Stream.concat(Arrays.stream(diff), Stream.of("--rank", 4, "--energy", 0.9)).toArray()).exitCode());
    assertEquals(2, run(Stream.concat(Arrays.stream(diff), Stream.of("--rank", 4, "--max-rank", 9)).toArray()).exitCode());
    assertEquals(2, run(Stream.concat(Arrays.stream(diff), Stream.of("--energy", 1.1)).toArray()).exitCode());
  }

  @Test
  void anExportedPatchAppliesAsThePatch() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--rank", 4, "--only", "*_proj.weight");
    Path adapter = folder.resolve("adapter");
    Result export = run("export", patch, "--format", "peft", "-o", adapter, "--base", model("v2"), "--base-name", "lab/v2", "--trainable");
    assertEquals(0, export.exitCode(), export.err());
    assertEquals(0, run("apply", patch, "--to", model("v2"), "-o", folder.resolve("one")).exitCode());
    assertEquals(0, run("apply", adapter, "--to", model("v2"), "-o", folder.resolve("other")).exitCode());
    assertArrayEquals(weights("one"), weights("other"));
    JsonNode config = new ObjectMapper().readTree(adapter.resolve("adapter_config.json").toFile());
    assertEquals("lab/v2", config.get("base_model_name_or_path").asText());
    assertFalse(config.get("inference_mode").asBoolean());
  }

  @Test
  void aPatchInBandsSaysItsErrorAndApplies() throws IOException {
    Path patch = folder.resolve("bands.patch.safetensors");
    Result diff =
        run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--bands", "2:8,16:3,64:2", "--json");
    assertEquals(0, diff.exitCode(), diff.err());
    double error = new ObjectMapper().readTree(diff.out()).get("relativeError").asDouble();
    assertTrue(error > 0.1 && error < 0.2, "error " + error);
    Result info = run("info", patch);
    assertTrue(info.out().contains("low rank 2 in 8 bits * 1.0 + low rank 16 in 3 bits * 1.0 + low rank 64 in 2 bits * 1.0"), info.out());
    assertEquals(0, run("apply", patch, "--to", model("v2"), "-o", folder.resolve("out")).exitCode());
    for (String wrong : List.of("2", "0:8", "2:8:1", "2:5", "x:8")) {
      Result refused = run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--bands", wrong);
      assertEquals(2, refused.exitCode(), wrong);
    }
    Result both = run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--bands", "2:8", "--bits", "4");
    assertTrue(both.err().contains("--bands cannot be combined with --density or --bits"), both.err());
  }

  @Test
  void anAdapterIsExportedAtALesserRankWithTheErrorStated() throws IOException {
    Path adapter = folder.resolve("adapter");
    Result export = run("export", model("climbs-lora"), "--format", "peft", "-o", adapter, "--rank", "2", "--json");
    assertEquals(0, export.exitCode(), export.err());
    assertTrue(new ObjectMapper().readTree(export.out()).get("lowRank").get("relativeError").asDouble() > 0.01);
    assertEquals(2, new ObjectMapper().readTree(adapter.resolve("adapter_config.json").toFile()).get("r").asInt());
  }

  @Test
  void aPatchThatNeedsItsBaseIsExportedOnlyWithIt() throws IOException {
    Path patch = folder.resolve("climbs.patch.safetensors");
    run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", patch, "--rank", 4);
    Result refused = run("export", patch, "--format", "peft", "-o", folder.resolve("adapter"));
    assertEquals(1, refused.exitCode());
    assertOneLine(refused.err());
    assertTrue(refused.err().contains("for which the base is needed"), refused.err());
    assertFalse(Files.exists(folder.resolve("adapter")));
    assertEquals(0, run("export", patch, "--format", "peft", "-o", folder.resolve("adapter"), "--base", model("v1")).exitCode());
    assertEquals(2, run("export", patch, "--format", "gguf", "-o", folder.resolve("adapter")).exitCode());
  }

  @Test
  void verifySaysWhatWasAltered() throws IOException {
    assertEquals(0, port("ported").exitCode());
    Result intact = run("verify", folder.resolve("ported"));
    assertEquals(0, intact.exitCode(), intact.err());
    assertTrue(intact.out().startsWith(folder.resolve("ported") + " is as it was written, fingerprint "), intact.out());

    byte[] bytes = weights("ported");
    bytes[bytes.length - 1] ^= 1;
    Files.write(folder.resolve("ported/model.safetensors"), bytes);
    Result altered = run("verify", folder.resolve("ported"));
    assertEquals(3, altered.exitCode());
    assertEquals(3, altered.out().lines().count(), altered.out());
    assertTrue(altered.out().contains("  tensor '"), altered.out());
    JsonNode json = new ObjectMapper().readTree(run("verify", folder.resolve("ported"), "--json").out());
    assertFalse(json.get("holds").asBoolean());
    assertEquals("v2", json.at("/record/onto/name").asText());
    assertEquals(2, json.get("differences").size());
  }

  @Test
  void withoutARecordNothingCanBeVerified() throws IOException {
    assertEquals(0, port("ported", "--no-record").exitCode());
    assertFalse(Files.exists(folder.resolve("ported/portllm.json")));
    Result result = run("verify", folder.resolve("ported"));
    assertEquals(1, result.exitCode());
    assertOneLine(result.err());
    assertTrue(result.err().contains("there is no record to compare with"), result.err());
    assertEquals(1, run("verify", folder.resolve("nothing")).exitCode());
  }

  @Test
  void onlyTheCommandThatIsNamedFirstIsTakenUp() {
    Map<String, CommandLine> all = Main.commandLine().getSubcommands();
    assertTrue(all.size() > 10);
    assertEquals(all.keySet(), Main.commandLine("--help", "port").getSubcommands().keySet());
    assertEquals(all.keySet(), Main.commandLine("pot").getSubcommands().keySet());
    all.forEach(
        (name, command) -> {
          CommandLine alone = Main.commandLine(name, "--help").getSubcommands().get(name);
          assertEquals(command.getUsageMessage(), alone.getUsageMessage());
          assertEquals(Set.of(name), Main.commandLine(name, "--help").getSubcommands().keySet());
        });
  }
}
