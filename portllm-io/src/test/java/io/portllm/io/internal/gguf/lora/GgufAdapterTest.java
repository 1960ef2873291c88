package io.portllm.io.internal.gguf.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.io.GgufAdapter;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.gguf.NewMetadata;
import io.portllm.io.internal.gguf.layout.ConvertedModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What adapters in llama.cpp's format mean, and which are refused. */
class GgufAdapterTest {
  private static final String UP = "blk.0.ffn_up.weight";
  private static final String SOURCE_UP = "model.layers.0.mlp.up_proj.weight";

  @TempDir
  Path scratch;

  private static Checkpoint llama() {
    return Checkpoint.of("LlamaForCausalLM").with("model.embed_tokens.weight", 10, 8).with("lm_head.weight", 10, 8)
        .with(SOURCE_UP, 6, 8).with("model.layers.0.self_attn.q_proj.weight", 16, 8).with("model.norm.weight", 8);
  }

  private static float[] numbers(int first, long... shape) {
    return ConvertedModel.numbers(first, Shape.of(shape));
  }

  private GgufAdapter open(AdapterFile file) throws IOException {
    return GgufAdapter.open(file.writeTo(scratch.resolve("adapter.gguf")));
  }

  private static float[] values(Delta delta) throws IOException {
    float[] values = new float[Math.toIntExact(delta.shape().elements())];
    new RowEvaluator(delta).read(0, (int) delta.shape().rows(), values);
    return values;
  }

  /** scale · B·A. */
  private static float[] product(float[] b, float[] a, int rank, float scale) {
    int columns = a.length / rank;
    float[] product = new float[b.length / rank * columns];
    for (int i = 0; i < product.length; i++) {
      for (int k = 0; k < rank; k++) {
        product[i] += scale * b[i / columns * rank + k] * a[k * columns + i % columns];
      }
    }
    return product;
  }

  @ParameterizedTest
  @CsvSource({"8, 4", "0, 1", "-1, -0.5"})
  void theScaleIsAlphaOverRankAndOneWithoutAlpha(float alpha, float scale) throws IOException {
    AdapterFile file = AdapterFile.lora("llama", alpha)
        .with(UP + ".lora_a", Shape.of(2, 8), numbers(1, 2, 8)).with(UP + ".lora_b", Shape.of(6, 2), numbers(20, 6, 2));
    try (GgufAdapter adapter = open(file)) {
      Map<String, Delta> deltas = adapter.changesFrom(llama(), MergeOptions.defaults()).deltas();
      assertEquals(Set.of(SOURCE_UP), deltas.keySet());
      assertArrayEquals(product(numbers(20, 6, 2), numbers(1, 2, 8), 2, scale), values(deltas.get(SOURCE_UP)));
    }
  }

  @Test
  void factorsOfTheEmbeddingAreLookedUp() throws IOException {
    // A has a row for each token, and B one for each column of the embedding.
    AdapterFile file = AdapterFile.lora("llama", 3)
        .with("token_embd.weight.lora_a", Shape.of(10, 3), numbers(1, 10, 3))
        .with("token_embd.weight.lora_b", Shape.of(8, 3), numbers(5, 8, 3));
    float[] turned = new float[24];
    for (int i = 0; i < 24; i++) {
      turned[i % 3 * 8 + i / 3] = 5 + i;
    }
    try (GgufAdapter adapter = open(file)) {
      Delta delta = adapter.patchFor(llama()).deltas().get("model.embed_tokens.weight");
      assertArrayEquals(product(numbers(1, 10, 3), turned, 3, 1), values(delta));
    }
  }

  @Test
  void quantisedFactorsCountWithTheValuesThatTheyHave() throws IOException {
    float[] b = numbers(0, 6, 32);
    AdapterFile file = AdapterFile.lora("llama", 0)
        .with(UP + ".lora_a", Shape.of(32, 8), numbers(1, 32, 8)).withQuantised(DType.Q8_0, UP + ".lora_b", Shape.of(6, 32), b);
    try (GgufAdapter adapter = open(file)) {
      Delta.LowRank delta = assertInstanceOf(Delta.LowRank.class, adapter.patchFor(llama()).deltas().get(SOURCE_UP));
      float[] read = FactorRows.values(delta.b());
      assertEquals(DType.F32, delta.b().info().dtype());
      for (int i = 0; i < b.length; i++) {
        assertEquals(b[i], read[i], 0.5 * 191 / 127);
      }
    }
  }

  @Test
  void normsReplaceOrCountAsTheirDifference() throws IOException {
    Checkpoint gemma = Checkpoint.of("GemmaForCausalLM").with("model.norm.weight", 8);
    float[] stored = {2, 2, 2, 2, 2, 2, 2, 2};
    try (GgufAdapter adapter = open(AdapterFile.lora("gemma", 0).with("output_norm.weight", Shape.of(8), stored))) {
      Delta.Replacement whole = assertInstanceOf(Delta.Replacement.class, adapter.patchFor(gemma).deltas().get("model.norm.weight"));
      // Gemma's norms are stored as weight + 1.
      assertArrayEquals(new float[] {1, 1, 1, 1, 1, 1, 1, 1}, FactorRows.values(whole.values()));
      Delta difference = adapter.changesFrom(gemma, MergeOptions.defaults()).deltas().get("model.norm.weight");
      assertEquals(1 - 3 / 16f, values(difference)[3]);
    }
  }

  @Test
  void normsOfHeadsAreTakenApart() throws IOException {
    Checkpoint model = Checkpoint.of("StableLmForCausalLM");
    for (int head = 0; head < 2; head++) {
      model.with("model.layers.0.self_attn.k_layernorm.norms." + head + ".weight", 3);
    }
    try (GgufAdapter adapter = open(AdapterFile.lora("stablelm", 0).with("blk.0.attn_k_norm.weight", Shape.of(2, 3), 1, 2, 3, 4, 5, 6))) {
      Delta second = adapter.patchFor(model).deltas().get("model.layers.0.self_attn.k_layernorm.norms.1.weight");
      assertArrayEquals(new float[] {4, 5, 6}, FactorRows.values(assertInstanceOf(Delta.Replacement.class, second).values()));
    }
  }

  @Test
  void expertsOfAFusedTensorChangeTheirPartOfIt() throws IOException {
    String fused = "model.layers.0.mlp.experts.gate_up_proj";
    Checkpoint model = Checkpoint.of("Qwen3MoeForCausalLM").with(fused, 2, 6, 4).with("model.layers.0.mlp.gate.weight", 2, 4);
    String up = "blk.0.ffn_up_exps.weight";
    AdapterFile file = AdapterFile.lora("qwen3moe", 0)
        .with(up + ".lora_a", Shape.of(2, 1, 4), numbers(1, 2, 1, 4)).with(up + ".lora_b", Shape.of(2, 3, 1), numbers(10, 2, 3, 1));
    try (GgufAdapter adapter = open(file)) {
      Delta delta = adapter.patchFor(model).deltas().get(fused);
      float[] expected = new float[48];
      for (int expert = 0; expert < 2; expert++) {
        for (int row = 0; row < 3; row++) {
          for (int column = 0; column < 4; column++) {
            expected[expert * 24 + (3 + row) * 4 + column] = (10 + expert * 3 + row) * (1 + expert * 4 + column);
          }
        }
      }
      assertArrayEquals(expected, values(delta));
    }
  }

  @Test
  void aFactorThatAllExpertsShareIsReadForEach() throws IOException {
    Checkpoint model = Checkpoint.of("OlmoeForCausalLM").with("model.layers.0.mlp.experts.0.down_proj.weight", 3, 4)
        .with("model.layers.0.mlp.experts.1.down_proj.weight", 3, 4);
    String down = "blk.0.ffn_down_exps.weight";
    AdapterFile file = AdapterFile.lora("olmoe", 0)
        .with(down + ".lora_a", Shape.of(1, 2, 4), numbers(1, 2, 4)).with(down + ".lora_b", Shape.of(2, 3, 2), numbers(10, 12));
    try (GgufAdapter adapter = open(file)) {
      Map<String, Delta> deltas = adapter.patchFor(model).deltas();
      assertArrayEquals(
          product(numbers(16, 3, 2), numbers(1, 2, 4), 2, 1), values(deltas.get("model.layers.0.mlp.experts.1.down_proj.weight")));
    }
  }

  @Test
  void everyTensorThatDoesNotFitIsNamed() throws IOException {
    AdapterFile file = AdapterFile.lora("llama", 0)
        .with("blk.7.ffn_up.weight.lora_a", Shape.of(2, 8), numbers(1, 2, 8)).with("blk.7.ffn_up.weight.lora_b", Shape.of(6, 2), numbers(20, 6, 2))
        .with(UP + ".lora_a", Shape.of(2, 9), numbers(1, 2, 9)).with(UP + ".lora_b", Shape.of(6, 2), numbers(20, 6, 2))
        .with("output_norm.weight", Shape.of(7), numbers(0, 7));
    try (GgufAdapter adapter = open(file)) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> adapter.patchFor(llama()));
      assertEquals(new TreeSet<>(Set.of("blk.7.ffn_up.weight", UP, "output_norm.weight")),
          new TreeSet<>(refusal.mismatches().stream().map(Mismatch::tensor).toList()));
      assertTrue(refusal.getMessage().contains("of shape [6, 8] is not what factors of [6, 2] and [2, 9] change"), refusal.getMessage());
    }
  }

  @Test
  void anAdapterOfAnotherArchitectureIsRefused() throws IOException {
    AdapterFile file = AdapterFile.lora("qwen2", 0)
        .with(UP + ".lora_a", Shape.of(2, 8), numbers(1, 2, 8)).with(UP + ".lora_b", Shape.of(6, 2), numbers(20, 6, 2));
    try (GgufAdapter adapter = open(file)) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> adapter.patchFor(llama()));
      assertTrue(refusal.getMessage().contains("the adapter is for 'qwen2' but the model is 'llama'"), refusal.getMessage());
      IncompatibleModelException unknown = assertThrows(IncompatibleModelException.class, () -> adapter.patchFor(Checkpoint.of("MambaForCausalLM")));
      assertTrue(unknown.getMessage().contains("'MambaForCausalLM'"), unknown.getMessage());
    }
  }

  private void assertMalformed(String rule, AdapterFile file) throws IOException {
    Path path = file.writeTo(Files.createTempDirectory(scratch, rule).resolve("adapter.gguf"));
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> GgufAdapter.open(path));
    assertEquals(rule, refusal.rule());
  }

  @Test
  void whatIsNoAdapterIsRefused() throws IOException {
    assertMalformed("GA-TYPE", new AdapterFile(new NewMetadata().with("general.architecture", "llama").with("general.type", "model")));
    assertMalformed("GA-TYPE", new AdapterFile(new NewMetadata().with("general.architecture", "llama")));
    assertMalformed("GA-KIND", new AdapterFile(new NewMetadata().with("general.type", "adapter").with("adapter.type", "control_vector")));
    assertMalformed("GA-KIND", new AdapterFile(new NewMetadata().with("general.type", "adapter").with("adapter.type", "lora")
        .with("adapter.alora.invocation_tokens", 3L)));
    assertMalformed("GA-ALPHA", AdapterFile.lora("llama", Float.NaN));
  }

  @Test
  void factorsWithoutTheirOtherAndOtherTensorsAreRefused() throws IOException {
    assertMalformed("GA-PAIR", AdapterFile.lora("llama", 0).with(UP + ".lora_a", Shape.of(2, 8), numbers(1, 2, 8)));
    assertMalformed("GA-PAIR", AdapterFile.lora("llama", 0).with(UP + ".lora_b", Shape.of(6, 2), numbers(1, 6, 2)));
    assertMalformed("GA-NAME", AdapterFile.lora("llama", 0).with(UP, Shape.of(6, 8), numbers(1, 6, 8)));
    assertMalformed("GA-SHAPE", AdapterFile.lora("llama", 0)
        .with(UP + ".lora_a", Shape.of(3, 8), numbers(1, 3, 8)).with(UP + ".lora_b", Shape.of(6, 2), numbers(1, 6, 2)));
    assertMalformed("GA-SHAPE", AdapterFile.lora("llama", 0)
        .with(UP + ".lora_a", Shape.of(8), numbers(1, 8)).with(UP + ".lora_b", Shape.of(6, 2), numbers(1, 6, 2)));
    assertMalformed("GA-SHAPE", AdapterFile.lora("llama", 0)
        .with(new TensorInfo(UP + ".lora_a", DType.I8, Shape.of(2, 8)), new byte[16]).with(UP + ".lora_b", Shape.of(6, 2), numbers(1, 6, 2)));
  }

  @Test
  void rowsAreReadInAnyPieces() throws IOException {
    AdapterFile file = AdapterFile.lora("llama", 0).with("blk.0.attn_q.weight.lora_a", Shape.of(2, 8), numbers(1, 2, 8))
        .with("blk.0.attn_q.weight.lora_b", Shape.of(16, 2), numbers(0, 16, 2));
    try (GgufAdapter adapter = open(file)) {
      Delta.LowRank delta =
          assertInstanceOf(Delta.LowRank.class, adapter.patchFor(llama()).deltas().get("model.layers.0.self_attn.q_proj.weight"));
      Tensor b = delta.b();
      float[] whole = FactorRows.values(b);
      // Rows of a head of four: 0, 2, 1, 3.
      assertArrayEquals(new float[] {0, 1, 4, 5, 2, 3, 6, 7, 8}, Arrays.copyOf(whole, 9));
      for (int from = 0; from < 32; from++) {
        for (int count = 1; count <= 32 - from; count++) {
          ByteBuffer piece = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
          b.read(4L * from, piece);
          assertFalse(piece.hasRemaining());
          assertEquals(whole[from], piece.getFloat(0));
          assertEquals(whole[from + count - 1], piece.getFloat(4 * count - 4));
        }
      }
    }
  }
}
