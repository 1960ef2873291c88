package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** {@code portllm merge} as a user runs it, on patches of the demo's models. */
class MergeCommandTest {
  @TempDir private Path folder;
  private Path lora;
  private Path full;

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

  @BeforeEach
  void savePatches() {
    lora = folder.resolve("lora.patch.safetensors");
    full = folder.resolve("full.patch.safetensors");
    assertEquals(0, run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", lora).exitCode());
    assertEquals(0, run("diff", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "-o", full).exitCode());
  }

  private Result merge(String output, String method, Object... more) {
    Object[] arguments = {"merge", lora, full, "--method", method, "-o", folder.resolve(output)};
    return run(Stream.concat(Arrays.stream(arguments), Arrays.stream(more)).toArray());
  }

  private byte[] file(String output) throws IOException {
    return Files.readAllBytes(folder.resolve(output));
  }

  @ParameterizedTest
  @ValueSource(strings = {
    "sum", "linear", "slerp", "slerp --by-row", "model-stock", "model-stock --by-row",
    "ties --density 0.2", "ties --density 0.2 --per-tensor", "ties --density 0.2 --per-tensor --by-count",
    "dare --density 0.5 --seed 1 --rank 4",
    "dare --density 0.5 --seed 1", "dare-ties --density 0.5 --seed 1", "della --density 0.5 --seed 1 --window 0.2",
    "breadcrumbs --density 0.9 --gamma 0.05", "sce --density 0.5"
  })
  void everyMethodWritesTheSameFileWhateverTheThreadsAndItApplies(String line) throws IOException {
    String[] words = line.split(" ");
    Object[] options = Arrays.copyOfRange(words, 1, words.length);
    Result merged = merge("one.safetensors", words[0], Stream.concat(Arrays.stream(options), Stream.of("--threads", 1)).toArray());
    assertEquals(0, merged.exitCode(), merged.err());
    merge("five.safetensors", words[0], Stream.concat(Arrays.stream(options), Stream.of("--threads", 5)).toArray());
    assertArrayEquals(file("one.safetensors"), file("five.safetensors"));
    Result applied = run("apply", folder.resolve("one.safetensors"), "--to", model("v2"), "-o", folder.resolve("out"));
    assertEquals(0, applied.exitCode(), applied.err());
    assertFalse(Arrays.equals(Files.readAllBytes(model("v2").resolve("model.safetensors")), file("out/model.safetensors")));
  }

  @Test
  void aSumIsBothPatchesOneAfterTheOther() throws IOException {
    assertEquals(0, merge("sum.safetensors", "sum", "--weights", "1,0").exitCode());
    run("apply", folder.resolve("sum.safetensors"), "--to", model("v2"), "-o", folder.resolve("sum"));
    run("apply", lora, "--to", model("v2"), "-o", folder.resolve("lora"));
    assertArrayEquals(file("lora/model.safetensors"), file("sum/model.safetensors"));
  }

  @Test
  void aSumOfAdaptersStaysLowRank() throws IOException {
    Path output = folder.resolve("sum.safetensors");
    assertEquals(0, run("merge", model("climbs-lora"), lora, "--method", "sum", "--weights", "0.5,0.25", "-o", output).exitCode());
    JsonNode info = new ObjectMapper().readTree(run("info", output, "--json").out());
    assertEquals("low rank 8 * 0.5 + low rank 8 * 0.25", info.get("changes").get(0).get("change").asText());
  }

  @Test
  void aStackOfAdaptersIsRecompressedAndTheErrorStated() throws IOException {
    Path output = folder.resolve("sum.safetensors");
    Object[] sum = {"merge", model("climbs-lora"), lora, "--method", "sum", "--weights", "0.5,0.25", "-o", output, "--json", "--force"};
    Result ranked = run(Stream.concat(Arrays.stream(sum), Stream.of("--rank", 3)).toArray());
    assertEquals(0, ranked.exitCode(), ranked.err());
    JsonNode lowRank = new ObjectMapper().readTree(ranked.out()).get("lowRank");
    assertEquals(3, lowRank.get("tensors").get("model.layers.0.self_attn.q_proj.weight").get("rank").asInt());
    assertTrue(lowRank.get("relativeError").asDouble() > 1e-3);
    JsonNode info = new ObjectMapper().readTree(run("info", output, "--json").out());
    assertEquals("low rank 3", info.get("changes").get(0).get("change").asText());
    // Both patches are the same adapter, so that its rank is enough for the sum.
    Result whole = run(Stream.concat(Arrays.stream(sum), Stream.of("--energy", 1)).toArray());
    assertEquals(0, whole.exitCode(), whole.err());
    lowRank = new ObjectMapper().readTree(whole.out()).get("lowRank");
    assertEquals(8, lowRank.get("tensors").get("model.layers.0.self_attn.q_proj.weight").get("rank").asInt());
    assertTrue(lowRank.get("relativeError").asDouble() < 1e-6);
    assertUsage("there must be -o for --rank and --energy", run("merge", lora, full, "--report", "--rank", 3));
  }

  @Test
  void seedsChooseOtherChanges() throws IOException {
    merge("one.safetensors", "dare", "--density", 0.5, "--seed", 1);
    merge("two.safetensors", "dare", "--density", 0.5, "--seed", 2);
    byte[] one = file("one.safetensors");
    byte[] two = file("two.safetensors");
    assertFalse(Arrays.equals(Arrays.copyOfRange(one, one.length / 2, one.length), Arrays.copyOfRange(two, two.length / 2, two.length)));
  }

  @Test
  void theRecipeIsKeptInTheFile() throws IOException {
    merge("merged.safetensors", "ties", "--density", 0.2, "--weights", "0.6,0.4");
    String recipe = new ObjectMapper().readTree(run("info", folder.resolve("merged.safetensors"), "--json").out()).get("recipe").asText();
    assertTrue(recipe.startsWith("ties(density 0.2 of each patch, elected mean)[0.6 * ("), recipe);
  }

  @Test
  void theReportTellsHowMuchPatchesContradictEachOther() throws IOException {
    Result result = run("merge", lora, model("climbs-lora"), full, "--report", "--json");
    assertEquals(0, result.exitCode(), result.err());
    JsonNode report = new ObjectMapper().readTree(result.out());
    assertEquals(3, report.get("patches").size());
    JsonNode tensor = report.get("tensors").get("model.layers.0.self_attn.q_proj.weight");
    // The first two are the same patch.
    assertEquals(1, tensor.get("pairs").get(0).get("cosine").asDouble(), 1e-12);
    assertEquals(1, tensor.get("pairs").get(0).get("overlap").asDouble(), 1e-6);
    assertEquals(8, tensor.get("pairs").get(0).get("principalCosines").size());
    assertFalse(tensor.get("pairs").get(1).has("overlap"));
    assertTrue(report.get("total").get("signDisagreement").asDouble() > 0.1);
    Result table = run("merge", lora, full, "--report");
    assertTrue(table.out().startsWith("1: " + lora + ", norm "), table.out());
    assertTrue(table.out().contains("model.layers.0.self_attn.q_proj.weight"), table.out());
  }

  @Test
  void wrongUsageIsToldInOneLineAndWritesNothing() {
    assertUsage("there must be -o to merge, --report to compare, or both", run("merge", lora, full));
    assertUsage("there must be --density for --method ties", merge("out.safetensors", "ties"));
    assertUsage("there must be --seed for --method dare", merge("out.safetensors", "dare", "--density", 0.5));
    assertUsage("--seed means nothing to --method sum", merge("out.safetensors", "sum", "--seed", 1));
    assertUsage("--by-row means nothing to --method sce", merge("out.safetensors", "sce", "--density", 1, "--by-row"));
    assertUsage("density must be in (0, 1] but was 2.0", merge("out.safetensors", "ties", "--density", 2));
    assertUsage(
        "there must be a weight for each of the 2 patches but there were 3", merge("out.safetensors", "sum", "--weights", "1,2,3"));
    Result method = merge("out.safetensors", "average");
    assertEquals(2, method.exitCode());
    String names = "sum, linear, ties, dare, dare-ties, della, breadcrumbs, slerp, sce, model-stock";
    assertTrue(method.err().contains("must be one of " + names + " but was 'average'"), method.err());
    assertEquals(1, run("merge", folder.resolve("nothing"), "--method", "sum", "-o", folder.resolve("out.safetensors")).exitCode());
    assertFalse(Files.exists(folder.resolve("out.safetensors")));
  }

  private static void assertUsage(String message, Result result) {
    assertEquals(2, result.exitCode());
    assertEquals("portllm: " + message + System.lineSeparator(), result.err());
  }
}
