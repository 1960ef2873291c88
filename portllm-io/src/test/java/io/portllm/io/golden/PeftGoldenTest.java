package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Adapters ported onto their own base give the weights that PEFT 0.21.0's {@code merge_and_unload()} gave in float32, and kinds that
 * are no plain LoRA are refused by name.
 */
class PeftGoldenTest {
  /** PEFT multiplies the factors with a matrix product, which adds up in another order. */
  private static final double TOLERANCE = 2e-6;

  @ParameterizedTest
  @CsvSource({
      "lora, llama-base-1", "lora_bias, qwen2-base-1", "lora_embed, llama-base-1", "lora_fan_in_fan_out, gpt2-base-1",
      "lora_layers, llama-base-1", "lora_modules_to_save, llama-base-1", "lora_patterns, llama-base-1", "lora_rslora, llama-base-1",
      "lora_tokens, llama-base-1"
  })
  void adapterWithItsBaseGivesWhatPeftMerges(String name, String baseName) throws IOException {
    assertMerged(name, baseName, Patch::from);
  }

  @ParameterizedTest
  @CsvSource({
      "lora, llama-base-1", "lora_bias, qwen2-base-1", "lora_fan_in_fan_out, gpt2-base-1", "lora_layers, llama-base-1",
      "lora_modules_to_save, llama-base-1", "lora_patterns, llama-base-1", "lora_rslora, llama-base-1", "lora_tokens, llama-base-1"
  })
  void adapterWithoutItsBaseGivesWhatPeftMerges(String name, String baseName) throws IOException {
    assertMerged(name, baseName, (adapter, base) -> adapter.patch());
  }

  @Test
  void adapterThatStoresItsBasesEmbeddingsIsRefusedWithoutItsBase() throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(Goldens.path("peft/lora_embed"))) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, adapter::patch);

      List<String> tensors = refusal.mismatches().stream().map(Mismatch::tensor).toList();
      assertEquals(List.of("lm_head.weight", "model.embed_tokens.weight"), tensors);
    }
  }

  @Test
  void everySharedAdapterIsRead() throws IOException {
    Path shared = Path.of("../../shared/peft");
    assumeTrue(Files.isDirectory(shared), "the shared adapters are not here");
    List<Executable> checks = new ArrayList<>();
    try (Stream<Path> folders = Files.list(shared)) {
      for (Path folder : folders.filter(PeftAdapter::isAdapter).sorted().toList()) {
        JsonNode config = new ObjectMapper().readTree(Files.readString(folder.resolve("adapter_config.json")));
        checks.add(() -> assertRead(folder, shared.resolve(config.get("base_model_name_or_path").textValue())));
      }
    }
    assertFalse(checks.isEmpty(), "there are adapters");
    assertAll(checks);
  }

  private static void assertRead(Path folder, Path baseFolder) throws IOException {
    try (ModelVersion base = Checkpoints.open(baseFolder);
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      assertFalse(Patch.from(adapter, base).deltas().isEmpty(), folder + " changes weights");
    }
  }

  private static void assertMerged(String name, String baseName, BiFunction<PeftAdapter, ModelVersion, Patch> extraction)
      throws IOException {
    Path folder = Goldens.path("peft/" + name);
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/" + baseName));
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      assertMerged(expected, base, extraction.apply(adapter, base).applyTo(base));
    }
  }

  private static void assertMerged(ModelVersion expected, ModelVersion base, ModelVersion ported) throws IOException {
    assertTrue(expected.tensors().size() > 0, "the golden has tensors");
    for (TensorInfo tensor : expected.tensors()) {
      assertEquals(tensor, ported.find(tensor.name()).orElseThrow());
      Closeness.assertClose(tensor, Goldens.bytes(expected, tensor), Goldens.bytes(ported, tensor), TOLERANCE);
    }
    assertEquals(base.tensors(), ported.tensors());
    for (TensorInfo tensor : base.tensors()) {
      if (expected.find(tensor.name()).isEmpty()) {
        Goldens.assertSameBits(tensor, Goldens.bytes(base, tensor), ported);
      }
    }
  }
}
