package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.Tying;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Embeddings that are also the head: a change is never doubled, never lost, never given to a matrix that it was not made for. */
class TyingTest {
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String HEAD = "lm_head.weight";
  private static final Shape SHAPE = Shape.of(2, 2);
  private static final double[] CHANGE = {1, 2, 3, 4};
  private static final double[] HEAD_CHANGE = {10, 20, 30, 40};

  /** How a model keeps its embedding and its head. */
  enum Stored {
    /** One matrix, stored as the embedding. */
    ONCE,
    /** One matrix, stored under both names. */
    TWICE,
    /** Two matrices. */
    APART;

    boolean tied() {
      return this != APART;
    }
  }

  /** A model whose embedding is {@code embedding}, and whose head is that or {@code head}. */
  private static MemoryModel model(String name, Stored stored, double[] embedding, double[] head) {
    MemoryModel.Builder model = MemoryModel.named(name).config("tie_word_embeddings", String.valueOf(stored.tied())).f32(EMBEDDING, SHAPE, embedding);
    return switch (stored) {
      case ONCE -> model.build();
      case TWICE -> model.f32(HEAD, SHAPE, embedding).build();
      case APART -> model.f32(HEAD, SHAPE, head).build();
    };
  }

  private static MemoryModel base(Stored stored) {
    return model("base", stored, new double[] {100, 100, 100, 100}, new double[] {200, 200, 200, 200});
  }

  private static MemoryModel tuned(Stored stored) {
    return model("tuned", stored, new double[] {101, 102, 103, 104}, new double[] {210, 220, 230, 240});
  }

  private static MemoryModel newBase(Stored stored) {
    return model("new base", stored, new double[] {300, 300, 300, 300}, new double[] {500, 500, 500, 500});
  }

  static Stream<List<Stored>> allCells() {
    List<List<Stored>> cells = new ArrayList<>();
    for (Stored base : Stored.values()) {
      for (Stored tuned : Stored.values()) {
        for (Stored newBase : Stored.values()) {
          cells.add(List.of(base, tuned, newBase));
        }
      }
    }
    assertEquals(27, cells.size());
    return cells.stream();
  }

  /** Of 27 cells the 8 that are tied throughout and the one that is apart throughout are ported; the rest are refused. */
  @ParameterizedTest
  @MethodSource("allCells")
  void aWholeMatrixChangeReachesEachMatrixOnceOrIsRefused(List<Stored> cell) throws IOException {
    Stored base = cell.get(0);
    Stored tuned = cell.get(1);
    Stored newBase = cell.get(2);
    if (base.tied() != tuned.tied()) {
      assertRefusedForTying(() -> Patch.from(tuned(tuned), base(base)));
    } else if (base.tied() != newBase.tied()) {
      Patch patch = Patch.from(tuned(tuned), base(base));
      assertRefusedForTying(() -> patch.applyTo(newBase(newBase)));
    } else {
      ModelVersion ported = Patch.from(tuned(tuned), base(base)).applyTo(newBase(newBase));
      assertPorted(ported, newBase, CHANGE, newBase.tied() ? CHANGE : HEAD_CHANGE);
    }
  }

  @ParameterizedTest
  @MethodSource("allCells")
  void scalingAndAddingDoNotMatter(List<Stored> cell) throws IOException {
    if (cell.get(0).tied() == cell.get(1).tied() && cell.get(0).tied() == cell.get(2).tied()) {
      Patch patch = Patch.from(tuned(cell.get(1)), base(cell.get(0)));
      Stored newBase = cell.get(2);
      double[] head = newBase.tied() ? CHANGE : HEAD_CHANGE;
      assertPorted(patch.plus(patch).applyTo(newBase(newBase)), newBase, times(2, CHANGE), times(2, head));
      assertPorted(patch.scaledBy(-3).applyTo(newBase(newBase)), newBase, times(-3, CHANGE), times(-3, head));
    }
  }

  @ParameterizedTest
  @EnumSource(Stored.class)
  void theHeadAloneOfATiedModelIsRefused(Stored newBase) {
    Patch head = Patch.from(tuned(Stored.TWICE), base(Stored.TWICE)).only(HEAD);
    assertRefusedForTying(() -> head.applyTo(newBase(newBase)));
  }

  @Test
  void theEmbeddingAloneOfATiedModelStandsForBoth() throws IOException {
    Patch embedding = Patch.from(tuned(Stored.TWICE), base(Stored.TWICE)).only(EMBEDDING);
    assertPorted(embedding.applyTo(newBase(Stored.ONCE)), Stored.ONCE, CHANGE, CHANGE);
    assertPorted(embedding.applyTo(newBase(Stored.TWICE)), Stored.TWICE, CHANGE, CHANGE);
    assertRefusedForTying(() -> embedding.applyTo(newBase(Stored.APART)));
  }

  @Test
  void aPatchThatTouchesNeitherIsNoConcernOfTying() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32(EMBEDDING, SHAPE, CHANGE).f32("w", Shape.of(1), 1).build();
    MemoryModel tuned = MemoryModel.named("t").f32(EMBEDDING, SHAPE, CHANGE).f32("w", Shape.of(1), 2).build();
    MemoryModel newBase =
        MemoryModel.named("n").config("tie_word_embeddings", "false").f32(EMBEDDING, SHAPE, CHANGE).f32("w", Shape.of(1), 5).build();
    ModelVersion ported = Patch.from(tuned, base).only("w").applyTo(newBase);
    assertArrayEquals(new double[] {6}, MemoryModel.values(ported, "w"));
    assertArrayEquals(CHANGE, MemoryModel.values(ported, EMBEDDING));
  }

  /** What was tied in the base alone is two matrices in the patch, and must not become one again. */
  @ParameterizedTest
  @EnumSource(value = Stored.class, names = {"ONCE", "TWICE"})
  void matricesThatFineTuningTookApartAreNotPutTogetherAgain(Stored newBase) {
    Patch patch = Patch.from(tuned(Stored.APART), base(Stored.TWICE), allow(Allow.TIED_EMBEDDINGS));
    assertRefusedForTying(() -> patch.applyTo(newBase(newBase)));
  }

  @Test
  void matricesThatFineTuningTookApartAreChangedApart() throws IOException {
    Patch patch = Patch.from(tuned(Stored.APART), base(Stored.TWICE), allow(Allow.TIED_EMBEDDINGS));
    double[] fromTied = {110, 120, 130, 140};
    assertPorted(patch.applyTo(newBase(Stored.APART)), Stored.APART, CHANGE, fromTied);
  }

  @Test
  void whereTyingIsAllowedTheChangeGoesToTheTensorsItNames() throws IOException {
    MergeOptions tied = allow(Allow.TIED_EMBEDDINGS);
    Patch twice = Patch.from(tuned(Stored.TWICE), base(Stored.TWICE));
    assertPorted(twice.applyTo(newBase(Stored.APART), tied), Stored.APART, CHANGE, CHANGE);
    Patch once = Patch.from(tuned(Stored.ONCE), base(Stored.ONCE));
    MergeOptions extra = tied.allow(Allow.EXTRA_TENSORS);
    assertPorted(once.applyTo(newBase(Stored.APART), extra), Stored.APART, CHANGE, new double[4]);
    Patch apart = Patch.from(tuned(Stored.APART), base(Stored.APART));
    ModelVersion both = apart.applyTo(newBase(Stored.TWICE), tied);
    assertArrayEquals(plus(300, CHANGE), MemoryModel.values(both, EMBEDDING));
    assertArrayEquals(plus(300, HEAD_CHANGE), MemoryModel.values(both, HEAD));
    assertRefused(() -> apart.applyTo(newBase(Stored.ONCE), tied), Allow.MISSING_TENSORS);
    assertPorted(apart.applyTo(newBase(Stored.ONCE), tied.allow(Allow.MISSING_TENSORS)), Stored.ONCE, CHANGE, CHANGE);
  }

  @ParameterizedTest
  @EnumSource(value = Stored.class, names = {"ONCE", "TWICE"})
  void lowRankChangesOfUnknownBaseAreRefusedOnTiedOnes(Stored newBase) {
    for (Patch patch : List.of(lowRank(Optional.empty(), EMBEDDING), lowRank(Optional.empty(), HEAD), lowRank(Optional.empty(), EMBEDDING, HEAD))) {
      assertRefusedForTying(() -> patch.applyTo(newBase(newBase)));
    }
  }

  @Test
  void lowRankChangesOfUnknownBaseGoToTheTensorsTheyNameOnUntiedOnes() throws IOException {
    assertPorted(lowRank(Optional.empty(), EMBEDDING).applyTo(newBase(Stored.APART)), Stored.APART, CHANGE, new double[4]);
    assertPorted(lowRank(Optional.empty(), HEAD).applyTo(newBase(Stored.APART)), Stored.APART, new double[4], HEAD_CHANGE);
    assertPorted(lowRank(Optional.empty(), EMBEDDING, HEAD).applyTo(newBase(Stored.APART)), Stored.APART, CHANGE, HEAD_CHANGE);
  }

  @ParameterizedTest
  @EnumSource(value = Stored.class, names = {"ONCE", "TWICE"})
  void lowRankChangesOfATiedBaseToItsHeadOrToBothAreRefused(Stored base) {
    for (Stored newBase : Stored.values()) {
      Patch head = lowRank(Optional.of(base(base)), HEAD);
      Patch both = lowRank(Optional.of(base(base)), EMBEDDING, HEAD);
      assertRefusedForTying(() -> head.applyTo(newBase(newBase)));
      assertRefusedForTying(() -> both.applyTo(newBase(newBase)));
    }
  }

  @ParameterizedTest
  @EnumSource(value = Stored.class, names = {"ONCE", "TWICE"})
  void lowRankChangesOfATiedBaseToItsEmbeddingStandForBoth(Stored base) throws IOException {
    Patch embedding = lowRank(Optional.of(base(base)), EMBEDDING);
    assertPorted(embedding.applyTo(newBase(Stored.ONCE)), Stored.ONCE, CHANGE, CHANGE);
    assertPorted(embedding.applyTo(newBase(Stored.TWICE)), Stored.TWICE, CHANGE, CHANGE);
    assertRefusedForTying(() -> embedding.applyTo(newBase(Stored.APART)));
  }

  @Test
  void lowRankChangesOfAnUntiedBaseGoToTheTensorsTheyNameOnUntiedOnesAlone() throws IOException {
    Optional<ModelVersion> base = Optional.of(base(Stored.APART));
    assertPorted(lowRank(base, EMBEDDING).applyTo(newBase(Stored.APART)), Stored.APART, CHANGE, new double[4]);
    assertPorted(lowRank(base, HEAD).applyTo(newBase(Stored.APART)), Stored.APART, new double[4], HEAD_CHANGE);
    assertPorted(lowRank(base, EMBEDDING, HEAD).applyTo(newBase(Stored.APART)), Stored.APART, CHANGE, HEAD_CHANGE);
    for (Stored newBase : List.of(Stored.ONCE, Stored.TWICE)) {
      assertRefusedForTying(() -> lowRank(base, EMBEDDING).applyTo(newBase(newBase)));
      assertRefusedForTying(() -> lowRank(base, HEAD).applyTo(newBase(newBase)));
      assertRefusedForTying(() -> lowRank(base, EMBEDDING, HEAD).applyTo(newBase(newBase)));
    }
  }

  @Test
  void lowRankChangesAddedToAWholeChangeOfOneNameAreNotLost() {
    Patch whole = Patch.from(tuned(Stored.TWICE), base(Stored.TWICE));
    Patch head = Patch.of(lowRank(Optional.empty(), HEAD).deltas(), whole.base(), "head");
    for (Stored newBase : Stored.values()) {
      assertRefusedForTying(() -> whole.plus(head).applyTo(newBase(newBase)));
    }
  }

  @Test
  void trainedTokenRowsOfATiedModelStandForBoth() throws IOException {
    Tensor row = MemoryModel.tensor(DType.F32, Shape.of(1, 2), 3, 4);
    double[] change = {0, 0, 3, 4};
    Delta rows = new Delta.Rows(ImmutableLongArray.of(1), row, Optional.empty(), SHAPE);
    for (Optional<ModelVersion> base : List.of(Optional.<ModelVersion>empty(), Optional.<ModelVersion>of(base(Stored.ONCE)))) {
      Patch patch = Patch.of(Map.of(EMBEDDING, rows), base.map(PatchBase::of), "rows");
      assertPorted(patch.applyTo(newBase(Stored.ONCE)), Stored.ONCE, change, change);
      assertPorted(patch.applyTo(newBase(Stored.TWICE)), Stored.TWICE, change, change);
    }
    Patch unknown = Patch.of(Map.of(EMBEDDING, rows), Optional.empty(), "rows");
    assertPorted(unknown.applyTo(newBase(Stored.APART)), Stored.APART, change, new double[4]);
    Patch replaced = Patch.of(Map.of(EMBEDDING, new Delta.RowReplacement(ImmutableLongArray.of(1), row, SHAPE)), Optional.empty(), "rows");
    ModelVersion ported = replaced.applyTo(newBase(Stored.TWICE));
    assertArrayEquals(new double[] {300, 300, 3, 4}, MemoryModel.values(ported, EMBEDDING));
    assertArrayEquals(new double[] {300, 300, 3, 4}, MemoryModel.values(ported, HEAD));
  }

  @Test
  void differentTokenRowsForEmbeddingAndHeadOfATiedModelAreRefused() {
    Delta one = new Delta.Rows(ImmutableLongArray.of(1), MemoryModel.tensor(DType.F32, Shape.of(1, 2), 3, 4), Optional.empty(), SHAPE);
    Delta other = new Delta.Rows(ImmutableLongArray.of(1), MemoryModel.tensor(DType.F32, Shape.of(1, 2), 5, 6), Optional.empty(), SHAPE);
    Patch patch = Patch.of(Map.of(EMBEDDING, one, HEAD, other), Optional.of(PatchBase.of(base(Stored.TWICE))), "rows");
    for (Stored newBase : Stored.values()) {
      assertRefusedForTying(() -> patch.applyTo(newBase(newBase)));
    }
  }

  @Test
  void aReplacedEmbeddingOfUnknownBaseIsRefusedOnTiedOnes() {
    Patch patch =
        Patch.of(Map.of(EMBEDDING, new Delta.Replacement(MemoryModel.tensor(DType.F32, SHAPE, CHANGE))), Optional.empty(), "whole");
    assertRefusedForTying(() -> patch.applyTo(newBase(Stored.ONCE)));
    assertRefusedForTying(() -> patch.applyTo(newBase(Stored.TWICE)));
  }

  @Test
  void tyingIsReadFromTheConfiguration() {
    assertTying(Tying.TIED, Map.of("tie_word_embeddings", "true"), EMBEDDING);
    assertTying(Tying.TIED, Map.of("tie_word_embeddings", "true"), EMBEDDING, HEAD);
    assertTying(Tying.UNTIED, Map.of("tie_word_embeddings", "false"), EMBEDDING, HEAD);
    assertTying(Tying.UNTIED, Map.of("tie_word_embeddings", "false"), EMBEDDING);
    assertTying(Tying.TIED, Map.of("text_config.tie_word_embeddings", "true"), EMBEDDING, HEAD);
    assertTying(Tying.UNTIED, Map.of("tie_word_embeddings", "false", "text_config.tie_word_embeddings", "true"), EMBEDDING);
  }

  @Test
  void whereTheConfigurationIsSilentAHeadThatIsNotStoredIsTied() {
    assertTying(Tying.TIED, Map.of(), EMBEDDING);
    assertTying(Tying.UNTIED, Map.of(), EMBEDDING, HEAD);
    assertTying(Tying.TIED, Map.of("architectures.0", "LlamaForCausalLM"), EMBEDDING);
    assertTying(Tying.TIED, Map.of("architectures.0", "GPT2LMHeadModel"), "wte.weight");
    assertTying(Tying.TIED, Map.of("architectures.0", "GPT2LMHeadModel"), "transformer.wte.weight", "transformer.wpe.weight");
    assertTying(Tying.TIED, Map.of("architectures.0", "WhisperForConditionalGeneration"), "model.decoder.embed_tokens.weight");
    assertTying(Tying.UNTIED, Map.of("architectures.0", "GPTNeoXForCausalLM"), "gpt_neox.embed_in.weight", "embed_out.weight");
    assertTying(Tying.UNTIED, Map.of(), "tok_embeddings.weight", "output.weight");
    assertTying(Tying.TIED, Map.of(), "tok_embeddings.weight");
  }

  @Test
  void modelsWithoutALanguageHeadAreNotTied() {
    assertTying(Tying.UNTIED, Map.of("architectures.0", "BertModel"), "embeddings.word_embeddings.weight");
    assertTying(Tying.UNTIED, Map.of(), "bert.embeddings.word_embeddings.weight", "cls.predictions.bias");
    assertTying(Tying.UNTIED, Map.of("architectures.0", "LlamaModel"), "embed_tokens.weight");
    assertTying(Tying.UNTIED, Map.of("architectures.0", "LlamaForSequenceClassification"), EMBEDDING, "score.weight");
    assertTying(Tying.UNTIED, Map.of(), "w");
  }

  @Test
  void namesMatchInWholePartsOnly() {
    assertTying(Tying.UNTIED, Map.of(), "my_embed_tokens.weight");
    assertTrue(Embeddings.isVocabulary("lm_head.weight"));
    assertTrue(Embeddings.isVocabulary("model.lm_head.bias"));
    assertFalse(Embeddings.isVocabulary("not_lm_head.weight"));
    assertFalse(Embeddings.isVocabulary("embeddings.position_embeddings.weight"));
  }

  @Test
  void gpt2NamesArePortedAsOthersAre() throws IOException {
    Map<String, String> config = Map.of("architectures.0", "GPT2LMHeadModel");
    MemoryModel base = MemoryModel.named("b").config("architectures.0", config.get("architectures.0")).f32("transformer.wte.weight", SHAPE, 1, 1, 1, 1).build();
    MemoryModel tuned = MemoryModel.named("t").config("architectures.0", config.get("architectures.0")).f32("transformer.wte.weight", SHAPE, 2, 3, 4, 5).build();
    MemoryModel newBase =
        MemoryModel.named("n").config("tie_word_embeddings", "true")
            .f32("transformer.wte.weight", SHAPE, 10, 10, 10, 10).f32(HEAD, SHAPE, 10, 10, 10, 10).build();
    ModelVersion ported = Patch.from(tuned, base).applyTo(newBase);
    assertArrayEquals(new double[] {11, 12, 13, 14}, MemoryModel.values(ported, "transformer.wte.weight"));
    assertArrayEquals(new double[] {11, 12, 13, 14}, MemoryModel.values(ported, HEAD));
  }

  private static void assertTying(Tying expected, Map<String, String> config, String... tensors) {
    MemoryModel.Builder model = MemoryModel.named("m");
    config.forEach(model::config);
    for (String tensor : tensors) {
      model.f32(tensor, Shape.of(1), 1);
    }
    MemoryModel built = model.build();
    assertEquals(expected, Embeddings.tying(built));
    assertEquals(expected, PatchBase.of(built).tying());
  }

  private static Patch lowRank(Optional<ModelVersion> base, String... names) {
    Tensor b = MemoryModel.tensor(DType.F32, SHAPE, 1, 0, 0, 1);
    Map<String, Delta> deltas = new TreeMap<>();
    for (String name : names) {
      Tensor a = MemoryModel.tensor(DType.F32, SHAPE, name.equals(HEAD) ? HEAD_CHANGE : CHANGE);
      deltas.put(name, new Delta.LowRank(b, a, 1, false, SHAPE));
    }
    return Patch.of(deltas, base.map(PatchBase::of), "adapter");
  }

  private static void assertPorted(ModelVersion ported, Stored stored, double[] embedding, double[] head) throws IOException {
    assertArrayEquals(plus(300, embedding), MemoryModel.values(ported, EMBEDDING));
    if (stored == Stored.ONCE) {
      assertEquals(List.of(EMBEDDING), ported.tensors().stream().map(tensor -> tensor.name()).toList());
    } else {
      assertArrayEquals(plus(stored == Stored.APART ? 500 : 300, head), MemoryModel.values(ported, HEAD));
    }
  }

  private static double[] plus(double one, double[] values) {
    return Arrays.stream(values).map(value -> one + value).toArray();
  }

  private static double[] times(double factor, double[] values) {
    return Arrays.stream(values).map(value -> factor * value).toArray();
  }

  private static MergeOptions allow(Allow... allowed) {
    return MergeOptions.defaults().allow(allowed);
  }

  /** Refused, with every reason on embedding or head, and tying among them. */
  private static void assertRefusedForTying(Executable refused) {
    assertRefused(refused, Allow.TIED_EMBEDDINGS);
  }

  private static void assertRefused(Executable refused, Allow reason) {
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, refused);
    e.mismatches().forEach(mismatch -> assertTrue(Set.of(EMBEDDING, HEAD).contains(mismatch.tensor()), mismatch::toString));
    assertTrue(e.mismatches().stream().anyMatch(mismatch -> mismatch.allowedBy().equals(Optional.of(reason))), e.getMessage());
  }
}
