package io.portllm.io.internal.gguf.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Shape;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LayoutsTest {
  private static Hyperparameters model(String architecture, long heads, long keyValueHeads) {
    return new Hyperparameters(architecture, List.of(heads), List.of(keyValueHeads));
  }

  private static String reason(Hyperparameters hyperparameters, Map<String, Shape> tensors) {
    return assertInstanceOf(Mapping.Unmapped.class, Layouts.of(hyperparameters, tensors, List.of())).reason();
  }

  @Test
  void otherArchitecturesAreRefusedByName() {
    assertEquals(
        "is of the architecture 'rwkv7', of which it is not known how its tensors are made of a Hugging Face checkpoint's",
        reason(model("rwkv7", 1, 1), Map.of("token_embd.weight", Shape.of(4, 4))));
    assertInstanceOf(Mapping.Unmapped.class, Layouts.ofCheckpoint(model("MambaForCausalLM", 1, 1), Map.of()));
  }

  @Test
  void tensorsThatTheArchitectureDoesNotHaveAreRefusedByName() {
    assertEquals(
        "has tensor 'blk.0.ssm_a', which 'llama' models are not known to have",
        reason(model("llama", 1, 1), Map.of("blk.0.ssm_a", Shape.of(4))));
    assertTrue(reason(model("llama", 1, 1), Map.of("blk.00.attn_v.weight", Shape.of(4, 4))).contains("'blk.00.attn_v.weight'"));
    assertTrue(reason(model("llama", 1, 1), Map.of("blk.0.attn_v.scale", Shape.of(1))).contains("'blk.0.attn_v.scale'"));
  }

  @Test
  void headsThatDoNotDivideTheRowsAreRefused() {
    Map<String, Shape> tensors = Map.of("blk.0.attn_k.weight", Shape.of(12, 8));
    assertEquals(
        "has tensor 'blk.0.attn_k.weight' of shape [12, 8], where a multiple of 5 heads in the first dimension was expected",
        reason(model("llama", 6, 5), tensors));
    assertTrue(reason(model("llama", 6, 4), tensors).contains("an even number of rows for each head"));
    assertInstanceOf(Layout.class, Layouts.of(model("llama", 7, 6), tensors, List.of()));
  }

  @Test
  void headsAreNeededOnlyWhereRowsMove() {
    Hyperparameters none = new Hyperparameters("llama", List.of(), List.of());
    assertInstanceOf(Layout.class, Layouts.of(none, Map.of("blk.0.attn_v.weight", Shape.of(12, 8)), List.of()));
    assertEquals("does not tell the number of attention heads of layer 3", reason(none, Map.of("blk.3.attn_q.weight", Shape.of(12, 8))));
  }

  @Test
  void headsOfEachLayerAreItsOwn() {
    Hyperparameters layers = new Hyperparameters("llama", List.of(2L, 4L), List.of(1L, 0L));
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(
        layers, Map.of("blk.0.attn_q.weight", Shape.of(16, 2), "blk.1.attn_q.weight", Shape.of(16, 2)), List.of()));
    layout.links().forEach(link -> assertEquals(new RowOrders.Pairs(link.gguf().contains(".0.") ? 8 : 4), link.order()));
    assertEquals("has 0 heads of keys in layer 1", reason(layers, Map.of("blk.1.attn_k.weight", Shape.of(16, 2))));
  }

  @Test
  void halfOfAFusedTensorAloneIsRefused() {
    Map<String, Shape> tensors = Map.of("blk.0.ffn_gate_exps.weight", Shape.of(2, 4, 8));
    assertEquals("has 8 of the 16 rows of 'model.layers.0.block_sparse_moe.input_linear.weight'", reason(model("granitemoe", 1, 1), tensors));
  }

  @Test
  void partsOfAFusedTensorMustAgree() {
    Map<String, Shape> tensors = Map.of("blk.0.ffn_gate_exps.weight", Shape.of(2, 4, 8), "blk.0.ffn_up_exps.weight", Shape.of(2, 4, 6));
    assertTrue(reason(model("granitemoe", 1, 1), tensors).contains("but another tensor needs"));
  }

  @Test
  void partsWithoutEndAreRefusedBeforeTheyAreMade() {
    assertTrue(reason(model("qwen3moe", 1, 1), Map.of("blk.0.ffn_gate_exps.weight", Shape.of(1L << 40, 1, 1))).contains("at most 100000 parts"));
    assertTrue(reason(model("stablelm", 1, 1), Map.of("blk.0.attn_q_norm.weight", Shape.of(1L << 40, 1))).contains("at most 100000 parts"));
    assertTrue(reason(model("llama", 1, 1), Map.of("output.weight", Shape.of(0, 4))).contains("no rows"));
    assertTrue(reason(model("granitemoe", 1, 1), Map.of("blk.0.ffn_gate_exps.weight", Shape.of(1, 1L << 61, 2))).contains("63 bits"));
  }

  @Test
  void expertsStoredOneByOneAreRead() {
    Map<String, Shape> tensors = new LinkedHashMap<>();
    for (int e = 0; e < 2; e++) {
      tensors.put("blk.1.ffn_gate." + e + ".weight", Shape.of(6, 4));
    }
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(model("llama", 1, 1), tensors, List.of()));
    assertEquals(Set.of("model.layers.1.block_sparse_moe.experts.0.w1.weight", "model.layers.1.block_sparse_moe.experts.1.w1.weight"),
        layout.sources().keySet());
    assertEquals("blk.1.ffn_gate.1.weight", layout.links().get(1).gguf());
  }

  @Test
  void aGateThatOlderConvertersStoredAsAVectorIsAMatrixOfOneRow() {
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(
        model("qwen2moe", 1, 1), Map.of("blk.0.ffn_gate_inp_shexp.weight", Shape.of(5)), List.of()));
    assertEquals(Map.of("model.layers.0.mlp.shared_expert_gate.weight", Shape.of(1, 5)), layout.sources());
    assertTrue(layout.links().get(0).transposed());
  }

  @ParameterizedTest
  @CsvSource({
    "llama, model.language_model.layers.0.mlp.up_proj.weight",
    "llama, language_model.model.layers.0.mlp.up_proj.weight",
    "llama, layers.0.mlp.up_proj.weight",
    "qwen3, model.layers.0.mlp.up_proj.weight"
  })
  void namesAreSpelledAsTheKnownOnes(String architecture, String known) {
    Map<String, Shape> tensors = Map.of("blk.0.ffn_up.weight", Shape.of(6, 4), "blk.0.ffn_down.weight", Shape.of(4, 6));
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(model(architecture, 1, 1), tensors, List.of(known, "unheard.of")));
    assertEquals(Set.of(known, known.replace("up_proj", "down_proj")), layout.sources().keySet());
  }

  @Test
  void whatTheConverterLeavesOutIsKnown() {
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(model("gpt2", 1, 1), Map.of("token_embd.weight", Shape.of(4, 4)), List.of()));
    assertTrue(layout.ignores("h.3.attn.bias"));
    assertTrue(layout.ignores("transformer.h.3.attn.masked_bias"));
    assertFalse(layout.ignores("transformer.h.3.attn.c_attn.bias"));
    assertFalse(layout.ignores("lm_head.weight"));
  }

  @Test
  void aCheckpointsStrangeTensorIsNamed() {
    Map<String, Shape> tensors = new LinkedHashMap<>();
    tensors.put("model.embed_tokens.weight", Shape.of(4, 4));
    tensors.put("model.layers.0.mlp.experts.w9.weight", Shape.of(4, 4));
    Mapping mapping = Layouts.ofCheckpoint(model("llama", 1, 1), tensors);
    assertEquals("has tensor 'model.layers.0.mlp.experts.w9.weight', which 'llama' models do not have",
        assertInstanceOf(Mapping.Unmapped.class, mapping).reason());
  }

  @Test
  void missingExpertsAreFound() {
    Map<String, Shape> tensors = new LinkedHashMap<>();
    for (int e : new int[] {0, 2}) {
      tensors.put("model.layers.0.mlp.experts." + e + ".gate_proj.weight", Shape.of(6, 4));
    }
    Mapping mapping = Layouts.ofCheckpoint(model("olmoe", 1, 1), tensors);
    assertTrue(assertInstanceOf(Mapping.Unmapped.class, mapping).reason().contains("'model.layers.0.mlp.experts.1.gate_proj.weight'"));
  }

  @ParameterizedTest
  @CsvSource({"8, 1, 2", "6, 3, 2", "4, 4, 6", "2, 2, 1"})
  void ordersAreBijectionsAndInverses(int groups, int queries, int width) {
    long rows = (long) groups * (queries + 2) * width;
    requireBijection(new RowOrders.Groups(groups, queries, width), rows);
    requireBijection(new RowOrders.Pairs(2L * width), 2L * width * groups);
  }

  private static void requireBijection(RowOrder order, long rows) {
    Set<Long> seen = new HashSet<>();
    for (long row = 0; row < rows; row++) {
      assertEquals(row, order.targetOf(order.sourceOf(row)));
      assertEquals(row, order.sourceOf(order.targetOf(row)));
      assertTrue(order.sourceOf(row) >= 0 && order.sourceOf(row) < rows && seen.add(order.sourceOf(row)));
    }
  }
}
