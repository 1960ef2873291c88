package io.portllm.io.internal.gguf.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.io.ExportOptions;
import io.portllm.io.GgufAdapter;
import io.portllm.io.GgufExport;
import io.portllm.io.PeftExport;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.layout.ConvertedModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What becomes of changes in adapters in llama.cpp's format, beyond those that its converter knows. */
class GgufExportTest {
  private static final String UP = "model.layers.0.mlp.up_proj.weight";
  private static final String DOWN = "model.layers.0.mlp.down_proj.weight";
  private static final String NORM = "model.norm.weight";

  @TempDir
  Path scratch;

  private static Checkpoint llama() {
    return Checkpoint.of("LlamaForCausalLM").with("model.embed_tokens.weight", 10, 8).with("lm_head.weight", 10, 8)
        .with(UP, 6, 8).with(DOWN, 8, 6).with(NORM, 8);
  }

  private static Tensor numbers(int first, long... shape) {
    return OneTensor.of("factor", Shape.of(shape), ConvertedModel.numbers(first, Shape.of(shape)));
  }

  private static Delta.LowRank product(Shape shape, int rank, double scale, int first) {
    return new Delta.LowRank(numbers(first, shape.rows(), rank), numbers(first + 3, rank, shape.columns()), scale, false, shape);
  }

  private static Patch patch(Map<String, Delta> deltas) {
    return Patch.of(deltas, Optional.empty(), "made by hand");
  }

  private Path file() {
    return scratch.resolve("adapter.gguf");
  }

  private Map<String, Delta> exported(Patch patch, Checkpoint base) throws IOException {
    GgufExport.write(patch, file(), ExportOptions.defaults().onto(base));
    try (GgufAdapter adapter = GgufAdapter.open(file())) {
      Map<String, Delta> read = new TreeMap<>();
      for (Map.Entry<String, Delta> entry : adapter.patchFor(base).deltas().entrySet()) {
        read.put(entry.getKey(), new Delta.Dense(OneTensor.of("read", entry.getValue().shape(), values(entry.getValue()))));
      }
      return read;
    }
  }

  private static float[] values(Delta delta) throws IOException {
    float[] values = new float[Math.toIntExact(delta.shape().elements())];
    new RowEvaluator(delta).read(0, (int) delta.shape().rows(), values);
    return values;
  }

  private double alpha() throws IOException {
    try (GgufModel written = GgufModel.openFile(file())) {
      return written.metadata().number("adapter.lora.alpha").orElseThrow();
    }
  }

  private static void assertSame(Map<String, Delta> expected, Map<String, Delta> found) throws IOException {
    assertEquals(expected.keySet(), found.keySet());
    for (Map.Entry<String, Delta> entry : expected.entrySet()) {
      assertArrayEquals(values(entry.getValue()), values(found.get(entry.getKey())), 1e-3f, entry.getKey());
    }
  }

  @Test
  void aScaleThatAllHaveIsTheFilesAlpha() throws IOException {
    Map<String, Delta> deltas = Map.of(UP, product(Shape.of(6, 8), 2, 2, 1), DOWN, product(Shape.of(8, 6), 4, 1, 5));
    assertSame(deltas, exported(patch(deltas), llama()));
    assertEquals(4, alpha());
  }

  @Test
  void otherScalesAreMultipliedIntoB() throws IOException {
    Map<String, Delta> deltas = Map.of(UP, product(Shape.of(6, 8), 2, 0.75, 1), DOWN, product(Shape.of(8, 6), 2, -0.5, 5));
    assertSame(deltas, exported(patch(deltas), llama()));
    assertTrue(alpha() == 1.5 || alpha() == -1);
  }

  @Test
  void aPatchOfScaleZeroIsZero() throws IOException {
    Map<String, Delta> deltas = Map.of(UP, product(Shape.of(6, 8), 2, 0, 1));
    assertArrayEquals(new float[48], values(exported(patch(deltas), llama()).get(UP)));
    assertEquals(1, alpha());
  }

  @Test
  void severalProductsAreStacked() throws IOException {
    Delta sum = new Delta.Sum(List.of(
        new Delta.Term(2, product(Shape.of(6, 8), 2, 1, 1)), new Delta.Term(-1, product(Shape.of(6, 8), 3, 0.5, 7))));
    assertSame(Map.of(UP, sum), exported(patch(Map.of(UP, sum)), llama()));
    try (GgufModel written = GgufModel.openFile(file())) {
      assertEquals(Shape.of(5, 8), written.find("blk.0.ffn_up.weight.lora_a").orElseThrow().shape());
    }
  }

  @Test
  void expertsOfDifferentRanksAreFilledUpWithZeros() throws IOException {
    Checkpoint model = Checkpoint.of("OlmoeForCausalLM");
    for (int e = 0; e < 3; e++) {
      model.with("model.layers.0.mlp.experts." + e + ".up_proj.weight", 6, 8);
    }
    Map<String, Delta> deltas = Map.of(
        "model.layers.0.mlp.experts.0.up_proj.weight", product(Shape.of(6, 8), 1, 1, 1),
        "model.layers.0.mlp.experts.2.up_proj.weight", product(Shape.of(6, 8), 3, 2, 4));
    Map<String, Delta> read = exported(patch(deltas), model);
    assertArrayEquals(new float[48], values(read.remove("model.layers.0.mlp.experts.1.up_proj.weight")));
    assertSame(deltas, read);
    try (GgufModel written = GgufModel.openFile(file())) {
      assertEquals(Shape.of(3, 3, 8), written.find("blk.0.ffn_up_exps.weight.lora_a").orElseThrow().shape());
      assertEquals(Shape.of(3, 6, 3), written.find("blk.0.ffn_up_exps.weight.lora_b").orElseThrow().shape());
    }
  }

  @Test
  void aProductWhoseOtherHalfDoesNotChangeIsFilledUpWithZeros() throws IOException {
    Checkpoint model = Checkpoint.of("InternLM2ForCausalLM").with("model.layers.0.attention.wqkv.weight", 32, 8);
    Map<String, Delta> deltas = Map.of("model.layers.0.attention.wqkv.weight", product(Shape.of(32, 8), 2, 1, 1));
    assertSame(deltas, exported(patch(deltas), model));
  }

  @Test
  void whatLlamaCppDoesNotAddIsRefusedByName() throws IOException {
    Map<String, Delta> deltas = Map.of(
        UP, product(Shape.of(6, 8), 2, 1, 1),
        DOWN, new Delta.Dense(numbers(0, 8, 6)),
        NORM, new Delta.Dense(numbers(0, 8)),
        "model.layers.1.mlp.up_proj.weight", product(Shape.of(6, 8), 2, 1, 1),
        "lm_head.weight", product(Shape.of(11, 8), 2, 1, 1));
    Patch patch = patch(deltas);
    ExportOptions options = ExportOptions.defaults().onto(llama());
    IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> GgufExport.write(patch, file(), options));
    Map<String, String> reasons = new TreeMap<>();
    refusal.mismatches().forEach(mismatch -> reasons.put(mismatch.tensor(), mismatch.message()));
    assertEquals(Map.of(
        DOWN, "is no product of low-rank factors, and llama.cpp adds nothing else",
        NORM, "is no product of low-rank factors, and llama.cpp adds nothing else",
        "model.layers.1.mlp.up_proj.weight", "is not in the model 'checkpoint'",
        "lm_head.weight", "changes a tensor of shape [11, 8], which is [10, 8] in the model"), reasons);
    assertFalse(Files.exists(file()));

    Map<String, String> told = new TreeMap<>();
    GgufExport.write(patch, file(), options.leavingOut(mismatch -> told.put(mismatch.tensor(), mismatch.message())));
    assertEquals(reasons, told);
    try (GgufAdapter adapter = GgufAdapter.open(file())) {
      assertEquals(List.of(UP), List.copyOf(adapter.patchFor(llama()).deltas().keySet()));
    }
  }

  @Test
  void embeddingsThatAreHeadsTooAndPositionsAreRefused() {
    Checkpoint tied = Checkpoint.of("LlamaForCausalLM").with("model.embed_tokens.weight", 10, 8);
    assertRefused(tied, "model.embed_tokens.weight", "is embedding and head in one, where llama.cpp cannot apply the factors of either");
    Checkpoint gpt2 = Checkpoint.of("GPT2LMHeadModel").with("transformer.wpe.weight", 10, 8).with("transformer.wte.weight", 10, 8);
    assertRefused(gpt2, "transformer.wpe.weight", "is looked up, where llama.cpp adds nothing");
  }

  private void assertRefused(Checkpoint model, String tensor, String reason) {
    Patch patch = patch(Map.of(tensor, product(Shape.of(10, 8), 2, 1, 1)));
    IncompatibleModelException refusal = assertThrows(
        IncompatibleModelException.class, () -> GgufExport.write(patch, file(), ExportOptions.defaults().onto(model)));
    assertEquals(List.of(Mismatch.of(tensor, reason)), refusal.mismatches());
  }

  @Test
  void anAdapterOfNothingIsRefused() {
    Patch patch = patch(Map.of(NORM, new Delta.Dense(numbers(0, 8))));
    ExportOptions options = ExportOptions.defaults().onto(llama()).leavingOut(mismatch -> {});
    assertThrows(IllegalStateException.class, () -> GgufExport.write(patch, file(), options));
  }

  @Test
  void theBaseOfThePatchIsTakenWhereNoOtherIsNamedAndSomeIsNeeded() throws IOException {
    Map<String, Delta> deltas = Map.of(UP, product(Shape.of(6, 8), 2, 1, 1));
    assertThrows(IllegalStateException.class, () -> GgufExport.write(patch(deltas), file(), ExportOptions.defaults()));
    GgufExport.write(Patch.of(deltas, Optional.of(PatchBase.of(llama())), "patch"), file(), ExportOptions.defaults());
    try (GgufModel written = GgufModel.openFile(file())) {
      assertEquals(Optional.of("checkpoint"), written.metadata().string("general.base_model.0.name"));
      assertEquals(Optional.of("patch"), written.metadata().string("general.name"));
    }
  }

  @Test
  void optionsOfOtherFormatsAreRefused() {
    Patch patch = patch(Map.of(UP, product(Shape.of(6, 8), 2, 1, 1)));
    ExportOptions options = ExportOptions.defaults().onto(llama());
    assertThrows(IllegalArgumentException.class, () -> GgufExport.write(patch, scratch.resolve("folder"), options));
    assertThrows(IllegalArgumentException.class, () -> GgufExport.write(patch, file(), options.trainable()));
    assertThrows(IllegalArgumentException.class, () -> PeftExport.write(patch, scratch.resolve("folder"), options.leavingOut(mismatch -> {})));
  }

  @Test
  void theSamePatchGivesTheSameBytes() throws IOException {
    Patch patch = patch(Map.of(UP, product(Shape.of(6, 8), 2, 1, 1), DOWN, product(Shape.of(8, 6), 4, 1, 5)));
    GgufExport.write(patch, file(), ExportOptions.defaults().onto(llama()));
    GgufExport.write(patch, scratch.resolve("again.gguf"), ExportOptions.defaults().onto(llama()));
    assertArrayEquals(Files.readAllBytes(file()), Files.readAllBytes(scratch.resolve("again.gguf")));
  }
}
