package io.portllm.bench.llamacpp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import de.kherud.llama.InferenceParameters;
import de.kherud.llama.LlamaModel;
import de.kherud.llama.ModelParameters;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * GGUF files that the library wrote, run by llama.cpp: an adapter that was tuned on the first of the demo's models, ported onto GGUF files of
 * others. What transformers answers rightly of the same ports as checkpoints is in the demo's {@code expected.json}.
 */
class LlamaCppIntegrationTest {
  private static final Path DEMO = Path.of("../portllm-cli/src/main/resources/io/portllm/cli/demo");

  @TempDir private Path folder;

  /** Rounding weights and activations moves answers that were close: 2 in 100 are allowed to differ. */
  @ParameterizedTest
  @CsvSource({"v1, BF16", "v1, F16", "v1, Q8_0", "v2, F32", "v2, BF16", "v2, F16", "v2, Q8_0", "independent, Q8_0"})
  void adapterPortedOntoGgufAnswersAsTransformersMeasured(String base, DType type) throws IOException {
    assertEquals(expected(base), percentRight(ported(base, type)), 2, base + " " + type);
  }

  /** What is lost in steps of the type's size, the report tells beforehand. */
  @ParameterizedTest
  @CsvSource({"Q5_1", "Q4_0"})
  void adapterPortedOntoCoarserTypesAnswersMostly(DType type) throws IOException {
    assertTrue(percentRight(ported("v2", type)) > 50, type.name());
  }

  @ParameterizedTest
  @CsvSource({"BF16", "Q8_0"})
  void baseKnowsNothingOfTheTaskWithoutThePatch(DType type) throws IOException {
    assertEquals(0, percentRight(LabGguf.write(DEMO.resolve("models/v2"), type, folder.resolve("base.gguf"))));
  }

  @Test
  void ggufBaseSortsAsItsCheckpointDoes() throws IOException {
    Path base = LabGguf.write(DEMO.resolve("models/v1"), DType.BF16, folder.resolve("base.gguf"));
    try (LlamaModel model = open(base)) {
      assertEquals("123579", answer(model, "sort(371925)="));
    }
  }

  /** A GGUF file of {@code base} with the adapter of v1 put on it by the library. */
  private Path ported(String base, DType type) throws IOException {
    Path file = LabGguf.write(DEMO.resolve("models").resolve(base), type, folder.resolve("base.gguf"));
    Path output = folder.resolve("ported.gguf");
    try (PeftAdapter adapter = PeftAdapter.open(DEMO.resolve("models/climbs-lora"));
        ModelVersion oldBase = Checkpoints.open(DEMO.resolve("models/v1"));
        ModelVersion newBase = Checkpoints.open(file)) {
      Checkpoints.write(Patch.from(adapter, oldBase).applyTo(newBase), output);
    }
    return output;
  }

  private static double percentRight(Path file) throws IOException {
    JsonNode prompts = new ObjectMapper().readTree(DEMO.resolve("prompts.json").toFile());
    int right = 0;
    try (LlamaModel model = open(file)) {
      for (JsonNode prompt : prompts) {
        if (answer(model, prompt.get("prompt").asText()).equals(prompt.get("answer").asText())) {
          right++;
        }
      }
    }
    return 100.0 * right / prompts.size();
  }

  private static LlamaModel open(Path file) {
    return new LlamaModel(new ModelParameters().setModel(file.toString()).setCtxSize(256).setThreads(2).disableLog());
  }

  private static String answer(LlamaModel model, String prompt) {
    // Without being told so, the binding sometimes continues the prompt before.
    return model.complete(new InferenceParameters(prompt).setTemperature(0).setTopK(1).setSeed(1).setNPredict(8).setCachePrompt(false));
  }

  private static double expected(String base) throws IOException {
    return new ObjectMapper().readTree(DEMO.resolve("expected.json").toFile()).get(base).get("port_lora").asDouble();
  }
}
