package io.portllm.bench.jlama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.github.tjake.jlama.math.VectorMath;
import com.github.tjake.jlama.safetensors.prompt.PromptContext;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Models written by the library, run by Jlama. The models, their prompts and what transformers makes of them (in float64, by
 * {@code make_reference.py}) are those of the command's demo. At every answer the two best logits of a ported model are 5e-3 or
 * more apart and Jlama is within 1e-4 of transformers, so that the shares of right answers are equal.
 */
class JlamaIntegrationTest {
  private static final Path DEMO = Path.of("../portllm-cli/src/main/resources/io/portllm/cli/demo");
  private static final Path REFERENCE = Path.of("../portllm-cli/src/test/resources/io/portllm/cli/demo");

  @TempDir private Path folder;

  @Test
  void basesGiveTheLogitsThatTransformersGives() throws IOException {
    for (String base : new String[] {"v1", "v2", "independent"}) {
      try (Jlama jlama = Jlama.open(lab(base), folder)) {
        // Float32 sums in another order: 1e-5 seen.
        assertEquals(0, largestDifferenceFromTransformers(base, jlama), 1e-4, base);
      }
    }
  }

  @Test
  void roundingActivationsToBfloat16MovesLogitsOfTheSameModel() throws IOException {
    try (Jlama jlama = Jlama.openWithRoundedActivations(lab("v1"), folder)) {
      double difference = largestDifferenceFromTransformers("v1", jlama);
      assertTrue(difference > 1e-3 && difference < 0.1, () -> "was " + difference);
    }
  }

  /** 133579 is what Jlama gives with 128 chunks. */
  @Test
  void sortsOnTheFirstBase() {
    try (Jlama jlama = Jlama.open(lab("v1"), folder)) {
      assertEquals("123579", jlama.answer("sort(371925)="));
    }
  }

  @Test
  void promptsStartWithOneBeginningOfTextToken() throws IOException {
    JsonNode reference = json(REFERENCE.resolve("logits.json"));
    try (Jlama jlama = Jlama.open(lab("v1"), folder)) {
      int[] ids = new ObjectMapper().convertValue(reference.get("ids"), int[].class);
      assertArrayEquals(ids, jlama.encode(reference.get("prompt").asText()));
    }
  }

  @Test
  void adapterOnItsOwnBaseAnswersAsTransformersMeasured() throws IOException {
    assertEquals(expected("v1", "port_lora"), percentRight(ported("v1")), 0.01);
  }

  @Test
  void adapterPortedToTheNextBaseAnswersAsTransformersMeasured() throws IOException {
    assertEquals(expected("v2", "port_lora"), percentRight(ported("v2")), 0.01);
  }

  @Test
  void basesKnowNothingOfTheTaskWithoutThePatch() throws IOException {
    assertEquals(0, percentRight(lab("v1")));
    assertEquals(0, percentRight(lab("v2")));
  }

  @Test
  void modelOfAnotherLineageKnowsNothingOfTheTaskWithThePatch() throws IOException {
    assertEquals(expected("independent", "port_lora"), percentRight(ported("independent")), 0.01);
  }

  @Test
  void generatorAnswersWithThePortedModel() throws IOException {
    Path ported = ported("v2");
    JsonNode prompt = json(DEMO.resolve("prompts.json")).get(0);
    try (Jlama jlama = Jlama.open(ported, folder)) {
      var response =
          jlama.model().generate(UUID.randomUUID(), PromptContext.of(prompt.get("prompt").asText()), 0f, 32, (token, time) -> {});
      assertEquals(prompt.get("answer").asText(), response.responseText);
    }
  }

  /** The cause of wrong answers with more threads, or with jlama-native: of three rows in two chunks, one is not computed. */
  @Test
  void jlamaLeavesOutRowsThatDoNotFillItsChunks() {
    assumeTrue(Jlama.CHUNKS == 2, "needs two processors");
    assertEquals(2, rowsCovered(3));
    assertEquals(264, rowsCovered(264));
    assertEquals(352, rowsCovered(352));
  }

  private static int rowsCovered(int rows) {
    AtomicInteger covered = new AtomicInteger();
    VectorMath.pchunk(0, rows, (start, length) -> covered.addAndGet(length));
    return covered.get();
  }

  /** The folder of {@code base} with the adapter of v1 put on it by the library. */
  private Path ported(String base) throws IOException {
    Path output = folder.resolve(base + "-climbs");
    try (PeftAdapter adapter = PeftAdapter.open(lab("climbs-lora"));
        ModelVersion oldBase = Checkpoints.open(lab("v1"));
        ModelVersion newBase = Checkpoints.open(lab(base))) {
      Checkpoints.write(Patch.from(adapter, oldBase).applyTo(newBase), output);
    }
    return output;
  }

  /** The share of the demo's prompts that the model in {@code model} answers exactly, in percent. */
  private double percentRight(Path model) throws IOException {
    JsonNode prompts = json(DEMO.resolve("prompts.json"));
    int right = 0;
    try (Jlama jlama = Jlama.open(model, folder)) {
      for (JsonNode prompt : prompts) {
        if (jlama.answer(prompt.get("prompt").asText()).equals(prompt.get("answer").asText())) {
          right++;
        }
      }
    }
    return 100.0 * right / prompts.size();
  }

  /** The share that transformers answers exactly, in percent. */
  private static double expected(String base, String kind) throws IOException {
    return json(DEMO.resolve("expected.json")).get(base).get(kind).asDouble();
  }

  private static double largestDifferenceFromTransformers(String base, Jlama jlama) throws IOException {
    JsonNode reference = json(REFERENCE.resolve("float64-logits.json")).get(base);
    float[] logits = jlama.logits(json(REFERENCE.resolve("logits.json")).get("prompt").asText());
    assertEquals(reference.size(), logits.length);
    double largest = 0;
    for (int i = 0; i < logits.length; i++) {
      largest = Math.max(largest, Math.abs(logits[i] - reference.get(i).asDouble()));
    }
    return largest;
  }

  private static Path lab(String name) {
    return DEMO.resolve("models").resolve(name);
  }

  private static JsonNode json(Path file) throws IOException {
    return new ObjectMapper().readTree(file.toFile());
  }
}
