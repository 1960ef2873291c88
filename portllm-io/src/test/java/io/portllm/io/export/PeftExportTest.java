package io.portllm.io.export;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.internal.patch.OneTensor;
import io.portllm.io.Checkpoints;
import io.portllm.io.ExportOptions;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PeftExport;
import io.portllm.io.golden.Goldens;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is exported, read back. {@code tools/check_export.py} has PEFT itself read it. */
class PeftExportTest {
  private static final String Q = "model.layers.0.self_attn.q_proj.weight";

  @TempDir private Path folder;

  private static Tensor random(Shape shape, long seed) {
    Random random = new Random(seed);
    float[] values = new float[(int) shape.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return OneTensor.of("random", shape, values);
  }

  private static Delta.LowRank product(int out, int rank, int in, double scale, long seed) {
    return new Delta.LowRank(random(Shape.of(out, rank), seed), random(Shape.of(rank, in), seed + 1), scale, false, Shape.of(out, in));
  }

  private static Patch patch(Map<String, Delta> deltas) {
    return Patch.of(deltas, Optional.empty(), "test");
  }

  private static Path adapter(String name) {
    return Goldens.path("peft/" + name);
  }

  private JsonNode config(Path adapter) throws IOException {
    return new ObjectMapper().readTree(adapter.resolve("adapter_config.json").toFile());
  }

  private static float[] values(ModelVersion model, String tensor) throws IOException {
    ByteBuffer bytes = Goldens.bytes(model, model.find(tensor).orElseThrow());
    float[] values = new float[bytes.remaining() / 4];
    bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  /** What a patch adds to zeros. */
  private static float[] changes(Patch patch, String tensor, Shape shape) throws IOException {
    Tensor zeros = OneTensor.of(tensor, shape, new float[(int) shape.elements()]);
    return values(patch.only(tensor).applyTo(zeros.version(), MergeOptions.defaults().allow(Allow.TIED_EMBEDDINGS)), tensor);
  }

  @ParameterizedTest
  @CsvSource({
      "lora, llama-base-1", "lora_bias, qwen2-base-1", "lora_embed, llama-base-1", "lora_fan_in_fan_out, gpt2-base-1",
      "lora_layers, llama-base-1", "lora_modules_to_save, llama-base-1", "lora_patterns, llama-base-1", "lora_rslora, llama-base-1",
      "lora_tokens, llama-base-1"
  })
  void anImportedAdapterExportedAgainGivesTheSameWeights(String name, String baseName) throws IOException {
    Path again = folder.resolve("again");
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/" + baseName));
        PeftAdapter imported = PeftAdapter.open(adapter(name))) {
      Patch patch = Patch.from(imported, base);
      PeftExport.write(patch, again);
      try (PeftAdapter exported = PeftAdapter.open(again)) {
        ModelVersion expected = patch.applyTo(base);
        ModelVersion actual = Patch.from(exported, base).applyTo(base);
        int products = 0;
        for (TensorInfo tensor : expected.tensors()) {
          boolean product = patch.deltas().get(tensor.name()) instanceof Delta.LowRank;
          products += product ? 1 : 0;
          // A weight saved whole is taken from the base and put back, which float32 may round.
          assertArrayEquals(values(expected, tensor.name()), values(actual, tensor.name()), product ? 0 : 1e-7f, tensor.name());
        }
        assertTrue(products > 0);
      }
      assertFalse(base.name().isEmpty());
      assertEquals(baseName, config(again).get("base_model_name_or_path").asText());
    }
  }

  @Test
  void factorsBesideUnchangedCopiesOfEmbeddingsStayFactors() throws IOException {
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/llama-base-1"));
        PeftAdapter imported = PeftAdapter.open(adapter("lora_embed"))) {
      PeftExport.write(Patch.from(imported, base), folder.resolve("again"));
    }
    assertTrue(config(folder.resolve("again")).get("modules_to_save").isNull());
    try (ModelVersion stored = Checkpoints.open(folder.resolve("again/adapter_model.safetensors"))) {
      assertTrue(stored.find("base_model.model.model.embed_tokens.lora_embedding_A").isPresent());
      assertTrue(stored.find("base_model.model.lm_head.lora_A.weight").isPresent());
    }
  }

  @Test
  void factorsAreCopiedBitForBit() throws IOException {
    Path again = folder.resolve("again");
    try (PeftAdapter imported = PeftAdapter.open(adapter("lora"))) {
      PeftExport.write(imported.patch(), again);
    }
    try (ModelVersion expected = Checkpoints.open(adapter("lora").resolve("adapter_model.safetensors"));
        ModelVersion actual = Checkpoints.open(again.resolve("adapter_model.safetensors"))) {
      for (TensorInfo tensor : expected.tensors()) {
        assertEquals(Goldens.bytes(expected, tensor), Goldens.bytes(actual, actual.find(tensor.name()).orElseThrow()), tensor.name());
      }
      assertEquals(expected.tensors().size(), actual.tensors().size());
    }
  }

  @Test
  void sumsAreStackedAndScalesGoToAlpha() throws IOException {
    Shape shape = Shape.of(12, 10);
    Patch sum = patch(Map.of(Q, product(12, 2, 10, 1.5, 1))).plus(patch(Map.of(Q, product(12, 3, 10, 1.5, 3))));
    Path stacked = folder.resolve("stacked");
    PeftExport.write(sum, stacked);
    assertEquals(5, config(stacked).get("r").asInt());
    assertEquals(7.5, config(stacked).get("lora_alpha").asDouble());
    Patch mixed = sum.scaledBy(0.3).plus(patch(Map.of(Q, product(12, 1, 10, -2, 5))));
    Path scaled = folder.resolve("scaled");
    PeftExport.write(mixed, scaled);
    try (PeftAdapter first = PeftAdapter.open(stacked);
        PeftAdapter second = PeftAdapter.open(scaled)) {
      assertArrayEquals(changes(sum, Q, shape), changes(first.patch(), Q, shape), 1e-5f);
      assertArrayEquals(changes(mixed, Q, shape), changes(second.patch(), Q, shape), 1e-5f);
    }
  }

  @Test
  void ranksAndScalesThatDifferBecomePatterns() throws IOException {
    Patch patch =
        patch(
            Map.of(
                "layers.0.a.weight", product(8, 2, 8, 1, 1), "layers.1.a.weight", product(8, 2, 8, 1, 2),
                "a.weight", product(8, 3, 8, 1, 3), "b.weight", product(8, 2, 8, 0.1, 4)));
    PeftExport.write(patch, folder.resolve("adapter"));
    JsonNode config = config(folder.resolve("adapter"));
    assertEquals(2, config.get("r").asInt());
    assertEquals(2, config.get("lora_alpha").asInt());
    assertEquals("{\"a\":3,\"b\":2}", config.get("rank_pattern").toString());
    assertEquals("{\"a\":3,\"b\":0.2}", config.get("alpha_pattern").toString());
  }

  @Test
  void aPathComesBeforeItsOwnEndInPatterns() throws IOException {
    Patch patch =
        patch(Map.of("x.a.weight", product(8, 4, 8, 1, 1), "a.weight", product(8, 3, 8, 1, 3), "b.weight", product(8, 2, 8, 1, 2), "c.weight", product(8, 2, 8, 1, 4)));
    PeftExport.write(patch, folder.resolve("adapter"));
    assertEquals("{\"x.a\":4,\"a\":3}", config(folder.resolve("adapter")).get("rank_pattern").toString());
    try (PeftAdapter adapter = PeftAdapter.open(folder.resolve("adapter"))) {
      assertEquals(4, ((Delta.LowRank) adapter.patch().deltas().get("x.a.weight")).rank());
    }
  }

  @Test
  void embeddingsAndHeadsOfEitherOrientationAreWhatPeftMakesOfThem() throws IOException {
    Shape shape = Shape.of(20, 6);
    Map<String, Delta> deltas = Map.of("model.embed_tokens.weight", product(20, 2, 6, 0.5, 1), "lm_head.weight", product(20, 2, 6, 0.5, 3));
    PeftExport.write(patch(deltas), folder.resolve("adapter"));
    try (ModelVersion stored = Checkpoints.open(folder.resolve("adapter/adapter_model.safetensors"))) {
      assertEquals(Shape.of(2, 20), stored.find("base_model.model.model.embed_tokens.lora_embedding_A").orElseThrow().shape());
      assertEquals(Shape.of(6, 2), stored.find("base_model.model.model.embed_tokens.lora_embedding_B").orElseThrow().shape());
    }
    try (PeftAdapter adapter = PeftAdapter.open(folder.resolve("adapter"))) {
      for (String name : deltas.keySet()) {
        assertArrayEquals(changes(patch(deltas), name, shape), changes(adapter.patch(), name, shape), 1e-6f, name);
      }
    }
  }

  @Test
  void convolutionsHaveTheDimensionsOfPeft() throws IOException {
    Shape shape = Shape.of(8, 3, 2, 2);
    Patch dense = patch(Map.of("conv.weight", new Delta.Dense(random(shape, 1))));
    PeftExport.write(LowRankExtraction.by(RankRule.rank(8)).of(dense).patch(), folder.resolve("adapter"));
    try (ModelVersion stored = Checkpoints.open(folder.resolve("adapter/adapter_model.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder.resolve("adapter"))) {
      assertEquals(Shape.of(8, 3, 2, 2), stored.find("base_model.model.conv.lora_A.weight").orElseThrow().shape());
      assertEquals(Shape.of(8, 8, 1, 1), stored.find("base_model.model.conv.lora_B.weight").orElseThrow().shape());
      assertArrayEquals(changes(dense, "conv.weight", shape), changes(adapter.patch(), "conv.weight", shape), 1e-5f);
    }
  }

  @Test
  void weightsKeptWholeAreThoseOfTheModelItIsLoadedOn() throws IOException {
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/llama-base-1"))) {
      Shape norm = base.find("model.norm.weight").orElseThrow().shape();
      Shape q = base.find(Q).orElseThrow().shape();
      Patch patch =
          patch(
              Map.of(
                  Q, product((int) q.rows(), 2, (int) q.columns(), 0.01, 1), "model.norm.weight", new Delta.Dense(random(norm, 9))));
      PeftExport.write(patch, folder.resolve("adapter"), ExportOptions.defaults().onto(base).withBaseName("some/name").trainable());
      JsonNode config = config(folder.resolve("adapter"));
      assertEquals("[\"model.norm\"]", config.get("modules_to_save").toString());
      assertEquals("some/name", config.get("base_model_name_or_path").asText());
      assertEquals("CAUSAL_LM", config.get("task_type").asText());
      assertFalse(config.get("inference_mode").asBoolean());
      try (ModelVersion stored = Checkpoints.open(folder.resolve("adapter/adapter_model.safetensors"))) {
        float[] whole = values(stored, "base_model.model.model.norm.weight");
        assertArrayEquals(values(patch.applyTo(base), "model.norm.weight"), whole);
        assertNotEquals(values(base, "model.norm.weight")[0], whole[0]);
      }
    }
  }

  @Test
  void whatPeftCannotHoldIsRefusedByName() {
    Patch patch =
        patch(
            Map.of(
                Q, product(12, 2, 10, 1, 1),
                "model.layers.0.mlp.experts.gate_up_proj", new Delta.Dense(random(Shape.of(2, 3, 4), 1)),
                "model.norm.weight", new Delta.Dense(random(Shape.of(10), 1))));
    IncompatibleModelException refused = assertThrows(IncompatibleModelException.class, () -> PeftExport.write(patch, folder.resolve("adapter")));
    assertEquals(
        List.of("model.layers.0.mlp.experts.gate_up_proj", "model.norm.weight"), refused.mismatches().stream().map(Mismatch::tensor).toList());
    assertTrue(refused.getMessage().contains("is no weight or bias of a module"), refused.getMessage());
    assertTrue(refused.getMessage().contains("for which the base is needed"), refused.getMessage());
    assertFalse(Files.exists(folder.resolve("adapter")));
  }

  @Test
  void aPatchWithoutFactorsIsRefused() {
    Patch patch = patch(Map.of("model.norm.weight", new Delta.Replacement(random(Shape.of(10), 1))));
    String message = assertThrows(IllegalStateException.class, () -> PeftExport.write(patch, folder.resolve("adapter"))).getMessage();
    assertTrue(message.contains("has no low-rank change"), message);
  }

  @Test
  void aPatchThatDoesNotFitTheBaseIsRefused() throws IOException {
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/llama-base-1"))) {
      Patch patch = patch(Map.of(Q, product(12, 2, 10, 1, 1)));
      IncompatibleModelException refused =
          assertThrows(
              IncompatibleModelException.class, () -> PeftExport.write(patch, folder.resolve("adapter"), ExportOptions.defaults().onto(base)));
      assertEquals(List.of(Q), refused.mismatches().stream().map(Mismatch::tensor).toList());
    }
  }

  @Test
  void changesOfTiedEmbeddingsAreRefused() {
    Tensor embedding = OneTensor.of("model.embed_tokens.weight", Shape.of(20, 6), new float[120]);
    Map<String, Delta> deltas = Map.of("model.embed_tokens.weight", product(20, 2, 6, 1, 1));
    Patch patch = Patch.of(deltas, Optional.of(PatchBase.of(embedding.version())), "test");
    IncompatibleModelException refused =
        assertThrows(IncompatibleModelException.class, () -> PeftExport.write(patch, folder.resolve("adapter")));
    assertTrue(refused.getMessage().contains("embedding and head in one"), refused.getMessage());
  }

  @Test
  void anExistingFolderIsRefusedAndIdenticalPatchesGiveIdenticalFiles() throws IOException {
    Patch patch = patch(Map.of(Q, product(12, 2, 10, 1, 1)));
    PeftExport.write(patch, folder.resolve("one"));
    PeftExport.write(patch, folder.resolve("other"));
    assertThrows(FileAlreadyExistsException.class, () -> PeftExport.write(patch, folder.resolve("one")));
    try (Stream<Path> files = Files.list(folder.resolve("one"))) {
      List<Path> all = files.sorted().toList();
      assertEquals(List.of("adapter_config.json", "adapter_model.safetensors"), all.stream().map(file -> file.getFileName().toString()).toList());
      for (Path file : all) {
        assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(folder.resolve("other").resolve(file.getFileName())));
      }
    }
  }

  @Test
  void theTypeOfTheFactorsIsKept() throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(adapter("lora"))) {
      DType type = ((Delta.LowRank) adapter.patch().deltas().values().iterator().next()).a().info().dtype();
      PeftExport.write(adapter.patch().scaledBy(0.5), folder.resolve("half"));
      try (PeftAdapter half = PeftAdapter.open(folder.resolve("half"))) {
        Delta.LowRank first = (Delta.LowRank) half.patch().deltas().values().iterator().next();
        assertEquals(type, first.a().info().dtype());
        Delta.LowRank old = (Delta.LowRank) adapter.patch().deltas().values().iterator().next();
        assertEquals(old.scale() / 2, first.scale());
      }
    }
  }
}
