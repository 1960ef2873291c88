package io.portllm.io.adapter;

import static io.portllm.io.adapter.AdapterFolder.Q;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trees;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What an adapter means. */
class PeftAdapterTest {
  private static final String Q_WEIGHT = "model.layers.0.self_attn.q_proj.weight";
  private static final String Q_BIAS = "model.layers.0.self_attn.q_proj.bias";
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String HEAD = "lm_head.weight";

  @TempDir Path dir;

  private PeftAdapter open;

  @AfterEach
  void close() throws IOException {
    if (open != null) {
      open.close();
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  private PeftAdapter open(AdapterFolder folder) throws IOException {
    close();
    open = PeftAdapter.open(folder.saveTo(dir.resolve("adapter")));
    return open;
  }

  private double scale(AdapterFolder folder) throws IOException {
    return ((Delta.LowRank) open(folder).patch().deltas().get(Q_WEIGHT)).scale();
  }

  private static float[] floats(byte[] bytes) {
    float[] values = new float[bytes.length / 4];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  private static float[] read(ModelVersion model, String tensor) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate((int) model.find(tensor).orElseThrow().bytes());
    model.read(model.find(tensor).orElseThrow(), 0, bytes);
    return floats(bytes.array());
  }

  @Test
  void theScaleIsAlphaOverRank() throws IOException {
    assertEquals(2, scale(new AdapterFolder().factors()));
    assertEquals(0.25, scale(new AdapterFolder().factors().set("lora_alpha", "1")));
    assertEquals(0.375, scale(new AdapterFolder().factors().set("lora_alpha", "1.5")));
    assertEquals(4, scale(new AdapterFolder().factors().set("use_rslora", "true")));
    assertEquals(8 / Math.sqrt(3), scale(new AdapterFolder().set("r", "3").set("use_rslora", "true").tensor(Q + ".lora_A.weight", 1, 3, 6)
        .tensor(Q + ".lora_B.weight", 2, 8, 3)));
  }

  @Test
  void patternsGiveALayerItsOwnRankAndAlpha() throws IOException {
    AdapterFolder wrongRank = new AdapterFolder().factors().set("r", "16");

    assertEquals(2, scale(wrongRank.set("rank_pattern", "{\"q_proj\": 4}")));
    assertEquals(2, scale(wrongRank.set("rank_pattern", "{\"model.layers.0.self_attn.q_proj\": 4}")));
    assertEquals(2, scale(wrongRank.set("rank_pattern", "{\".*\\\\.self_attn\\\\.[qk]_proj\": 4}")));
    assertEquals(2, scale(wrongRank.set("rank_pattern", "{\"layers\\\\.\\\\d{1,2}\\\\.self_attn.q_proj\": 4}")));
    assertEquals(2, scale(wrongRank.set("rank_pattern", "{\"k_proj\": 7, \"_proj\": 5, \"self_attn\": 6, \"q_proj\": 4, \".*\": 8}")));
    assertEquals(8, scale(wrongRank.set("rank_pattern", "{\"q_proj\": 4}").set("alpha_pattern", "{\"q_proj\": 32}")));
    assertEquals(16, scale(wrongRank.set("use_rslora", "true")));
  }

  @Test
  void aLinearLayerGetsTheProductOfItsFactors() throws IOException {
    AdapterFolder folder = new AdapterFolder().factors();
    TestModel base = AdapterFolder.base();
    float[] a = floats(folder.bytes(Q + ".lora_A.weight"));
    float[] b = floats(folder.bytes(Q + ".lora_B.weight"));
    float[] expected = floats(base.bytes(Q_WEIGHT));
    for (int row = 0; row < 8; row++) {
      for (int column = 0; column < 6; column++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
          sum += b[row * 4 + k] * a[k * 6 + column];
        }
        expected[row * 6 + column] += sum * 2;
      }
    }

    PeftAdapter adapter = open(folder);

    assertArrayEquals(expected, read(adapter.patch().applyTo(base), Q_WEIGHT));
    assertArrayEquals(expected, read(Patch.from(adapter, base).applyTo(base), Q_WEIGHT));
    assertEquals(Set.of(Q_WEIGHT), adapter.patch().deltas().keySet());
    assertEquals(Optional.empty(), adapter.patch().base());
    assertEquals("base", Patch.from(adapter, base).base().orElseThrow().name());
    assertEquals("adapter", adapter.patch().recipe());
  }

  @Test
  void otherLayersGetTheProductInTheirOrder() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .tensor("base_model.model.model.layers.0.conv.lora_A.weight", 3, 4, 3, 2, 2)
            .tensor("base_model.model.model.layers.0.conv.lora_B.weight", 4, 8, 4, 1, 1)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
    Map<String, Delta> deltas = Patch.from(open(folder), AdapterFolder.base()).deltas();

    Delta.LowRank conv = (Delta.LowRank) deltas.get("model.layers.0.conv.weight");
    assertEquals(Shape.of(8, 3, 2, 2), conv.shape());
    assertFalse(conv.transposed());
    Delta.LowRank embedding = (Delta.LowRank) deltas.get(EMBEDDING);
    assertEquals(Shape.of(20, 6), embedding.shape());
    assertTrue(embedding.transposed());
  }

  @Test
  void fanInFanOutTransposesLinearLayers() throws IOException {
    AdapterFolder folder = new AdapterFolder().set("fan_in_fan_out", "true").factors("base_model.model.model.layers.0.c_attn", 18, 6);

    Delta.LowRank product = (Delta.LowRank) Patch.from(open(folder), AdapterFolder.base()).deltas().get("model.layers.0.c_attn.weight");

    assertTrue(product.transposed());
    assertEquals(Shape.of(6, 18), product.shape());
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> Patch.from(open(folder.set("fan_in_fan_out", "false")), AdapterFolder.base()));
    assertTrue(refusal.getMessage().contains("is [18, 6] in the patch and [6, 18] in the new base"), refusal::getMessage);
  }

  @Test
  void aFactorNamedAfterItsAdapterIsTheSameFactor() throws IOException {
    AdapterFolder folder = new AdapterFolder().tensor(Q + ".lora_A.default.weight", 1, 4, 6).tensor(Q + ".lora_B.default.weight", 2, 8, 4);

    assertEquals(Set.of(Q_WEIGHT), open(folder).patch().deltas().keySet());
  }

  @Test
  void aBiasOfTheFactorsIsScaledAsTheyAre() throws IOException {
    AdapterFolder folder = new AdapterFolder().factors().set("lora_bias", "true").tensor(Q + ".lora_B.bias", 9, 8);
    TestModel base = AdapterFolder.base();
    float[] expected = floats(base.bytes(Q_BIAS));
    float[] bias = floats(folder.bytes(Q + ".lora_B.bias"));
    for (int i = 0; i < 8; i++) {
      expected[i] += bias[i] * 2;
    }

    assertArrayEquals(expected, read(open(folder).patch().applyTo(base), Q_BIAS));
  }

  @Test
  void savedBiasesCountAgainstTheBaseOrReplace() throws IOException {
    for (String bias : List.of("all", "lora_only")) {
      for (String name : List.of(Q + ".bias", Q + ".base_layer.bias")) {
        AdapterFolder folder = new AdapterFolder().factors().set("bias", '"' + bias + '"').tensor(name, 9, 8);
        assertSavedCountsAgainstTheBase(folder, name, Q_BIAS, 8);
      }
    }
  }

  @Test
  void savedModulesCountAgainstTheBaseOrReplace() throws IOException {
    for (String name : List.of("base_model.model.lm_head.weight", "base_model.model.lm_head.modules_to_save.default.weight")) {
      AdapterFolder folder = new AdapterFolder().factors().set("modules_to_save", "[\"lm_head\"]").tensor(name, 9, 20, 6);
      assertSavedCountsAgainstTheBase(folder, name, HEAD, 20, 6);
    }
  }

  /** With the base at hand, what the new base changed is kept; without, the new base's tensor is replaced. */
  private void assertSavedCountsAgainstTheBase(AdapterFolder folder, String stored, String tensor, long... shape) throws IOException {
    TestModel base = AdapterFolder.base();
    float[] saved = floats(folder.bytes(stored));
    float[] old = floats(base.bytes(tensor));
    TestModel newer = new TestModel("newer").config("tie_word_embeddings", "false");
    for (String name : base.names()) {
      Shape of = base.find(name).orElseThrow().shape();
      newer.random(name, DType.F32, 77 + name.length(), 1, of.toArray());
    }
    assertEquals(Shape.of(shape), newer.find(tensor).orElseThrow().shape());
    float[] expected = floats(newer.bytes(tensor));
    for (int i = 0; i < expected.length; i++) {
      float change = saved[i] - old[i];
      expected[i] += change;
    }

    PeftAdapter adapter = open(folder);

    assertArrayEquals(expected, read(Patch.from(adapter, base).applyTo(newer), tensor));
    assertArrayEquals(saved, read(adapter.patch().applyTo(newer), tensor));
  }

  @Test
  void aSavedModuleMayHaveParts() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .factors()
            .set("task_type", "\"SEQ_CLS\"")
            .set("modules_to_save", "[\"classifier\", \"score\"]")
            .tensor("base_model.model.classifier.dense.weight", 1, 6, 6)
            .tensor("base_model.model.classifier.dense.bias", 2, 6)
            .tensor("base_model.model.classifier.out_proj.weight", 3, 2, 6);

    Patch patch = Patch.from(open(folder), AdapterFolder.base(), MergeOptions.defaults().allow(Allow.EXTRA_TENSORS));

    assertEquals(
        Set.of(Q_WEIGHT, "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight"), patch.deltas().keySet());
  }

  @Test
  void aHeadThatTheBaseLacksNeedsLeaveToBeAdded() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .factors()
            .set("task_type", "\"SEQ_CLS\"")
            .set("modules_to_save", "[\"classifier\", \"score\"]")
            .tensor("base_model.model.score.weight", 1, 2, 6);
    TestModel base = AdapterFolder.base();
    PeftAdapter adapter = open(folder);

    IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Patch.from(adapter, base));
    assertEquals(List.of(Mismatch.of("score.weight", "is saved in the adapter but not in the base", Allow.EXTRA_TENSORS)),
        refusal.mismatches());

    MergeOptions options = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS);
    ModelVersion ported = Patch.from(adapter, base, options).applyTo(base, options);
    assertArrayEquals(floats(folder.bytes("base_model.model.score.weight")), read(ported, "score.weight"));
    assertTrue(ported.find(HEAD).isPresent());
  }

  @Test
  void leaveToAddAHeadIsNoLeaveForAnythingElse() throws IOException {
    MergeOptions options = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS);
    AdapterFolder elsewhere = new AdapterFolder().factors("base_model.model.model.layers.7.self_attn.q_proj", 8, 6);
    AdapterFolder tied = new AdapterFolder().tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
        .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
    TestModel tiedBase = AdapterFolder.base().config("tie_word_embeddings", "true");

    assertThrows(IncompatibleModelException.class, () -> Patch.from(open(elsewhere), AdapterFolder.base(), options));
    assertThrows(IncompatibleModelException.class, () -> Patch.from(open(tied), tiedBase, options));
  }

  @Test
  void tokenRowsCountAgainstTheBaseOrReplaceInAnyOrder() throws IOException {
    String stored = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
    int[] rows = {17, 3, 9};
    for (String indices : List.of("[17, 3, 9]", "{\"embed_tokens\": [17, 3, 9]}", "{\"model.embed_tokens\": [17, 3, 9]}")) {
      AdapterFolder folder = new AdapterFolder().factors().set("trainable_token_indices", indices).tensor(stored, 8, 3, 6);
      TestModel base = AdapterFolder.base();
      TestModel newer = new TestModel("newer").random(EMBEDDING, DType.F32, 50, 1, 25, 6).random(Q_WEIGHT, DType.F32, 51, 1, 8, 6);
      float[] values = floats(folder.bytes(stored));
      float[] old = floats(base.bytes(EMBEDDING));
      float[] added = floats(newer.bytes(EMBEDDING));
      float[] replaced = added.clone();
      for (int i = 0; i < rows.length; i++) {
        for (int column = 0; column < 6; column++) {
          float change = values[i * 6 + column] - old[rows[i] * 6 + column];
          added[rows[i] * 6 + column] += change;
          replaced[rows[i] * 6 + column] = values[i * 6 + column];
        }
      }
      PeftAdapter adapter = open(folder);
      MergeOptions options = MergeOptions.defaults().allow(Allow.MISSING_TENSORS, Allow.OTHER_VOCABULARY, Allow.TIED_EMBEDDINGS);

      assertArrayEquals(added, read(Patch.from(adapter, base).applyTo(newer, options), EMBEDDING));
      assertArrayEquals(replaced, read(adapter.patch().applyTo(newer, options), EMBEDDING));
    }
  }

  @Test
  void tokenRowsThatTheBaseLacksAreRefused() throws IOException {
    String stored = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
    AdapterFolder folder = new AdapterFolder().factors().set("trainable_token_indices", "[3, 20]").tensor(stored, 8, 2, 6);
    TestModel quantised =
        new TestModel("base").random(EMBEDDING, DType.I32, 1, 1, 21, 6).random(Q_WEIGHT, DType.F32, 1, 1, 8, 6)
            .random(HEAD, DType.F32, 1, 1, 21, 6);

    assertEquals(
        List.of(Mismatch.of(EMBEDDING, "is [20, 6] in the base, but the adapter changes rows up to number 20 of 6 columns")),
        assertThrows(IncompatibleModelException.class, () -> Patch.from(open(folder), AdapterFolder.base())).mismatches());
    assertEquals(
        List.of(Mismatch.of(EMBEDDING, "is I32 in the base, which cannot be changed")),
        assertThrows(IncompatibleModelException.class, () -> Patch.from(open(folder), quantised)).mismatches());
    assertThrows(IncompatibleModelException.class, () -> open(folder).patch().applyTo(AdapterFolder.base()));
  }

  /** PEFT saves embeddings whole beside the factors where it cannot tell whether they were resized. */
  @Test
  void copiesOfEmbeddingsNeedTheBase() throws IOException {
    TestModel base = AdapterFolder.base();
    for (String name : List.of("base_model.model.model.embed_tokens.base_layer.weight", "base_model.model.model.embed_tokens.weight")) {
      AdapterFolder folder =
          new AdapterFolder()
              .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
              .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
      AdapterFolder alone =
          new AdapterFolder()
              .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
              .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
      folder.tensor(name, DType.F32, base.bytes(EMBEDDING), 20, 6);
      float[] expected = read(open(alone).patch().applyTo(base), EMBEDDING);
      PeftAdapter adapter = open(folder);

      assertEquals(
          List.of(Mismatch.of(EMBEDDING, "is stored whole, and only the base tells whether it was changed")),
          assertThrows(IncompatibleModelException.class, adapter::patch).mismatches());
      assertArrayEquals(expected, read(Patch.from(adapter, base).applyTo(base), EMBEDDING));
    }
  }

  @Test
  void aResizedEmbeddingNeedsLeave() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .factors()
            .tensor("base_model.model.model.embed_tokens.weight", 1, 22, 6)
            .tensor("base_model.model.lm_head.weight", 2, 22, 6);
    PeftAdapter adapter = open(folder);

    assertEquals(
        List.of(
            Mismatch.of(HEAD, "is [22, 6] in the adapter and [20, 6] in the base", Allow.OTHER_VOCABULARY),
            Mismatch.of(EMBEDDING, "is [22, 6] in the adapter and [20, 6] in the base", Allow.OTHER_VOCABULARY)),
        assertThrows(IncompatibleModelException.class, () -> Patch.from(adapter, AdapterFolder.base())).mismatches());
    assertEquals(
        Shape.of(20, 6),
        Patch.from(adapter, AdapterFolder.base(), MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY)).deltas().get(EMBEDDING).shape());
  }

  @Test
  void changesOfOneWeightInTwoWaysAreAddedOrRefused() throws IOException {
    AdapterFolder folder =
        new AdapterFolder().factors().set("lora_bias", "true").set("bias", "\"all\"").tensor(Q + ".lora_B.bias", 1, 8)
            .tensor(Q + ".bias", 2, 8);
    TestModel base = AdapterFolder.base();
    float[] expected = floats(base.bytes(Q_BIAS));
    float[] factor = floats(folder.bytes(Q + ".lora_B.bias"));
    float[] saved = floats(folder.bytes(Q + ".bias"));
    for (int i = 0; i < 8; i++) {
      float difference = saved[i] - expected[i];
      expected[i] += factor[i] * 2 + difference;
    }
    PeftAdapter adapter = open(folder);

    assertArrayEquals(expected, read(Patch.from(adapter, base).applyTo(base), Q_BIAS));
    assertEquals(
        List.of(Mismatch.of(Q_BIAS, "is stored beside factors that add to it, and only the base tells what to add them to")),
        assertThrows(IncompatibleModelException.class, adapter::patch).mismatches());
  }

  @Test
  void tokenRowsBesideFactorsOfTheSameEmbeddingAreAddedOrRefused() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .set("trainable_token_indices", "[3]")
            .tensor("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", 1, 1, 6)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
    PeftAdapter adapter = open(folder);

    assertEquals(2, ((Delta.Sum) Patch.from(adapter, AdapterFolder.base()).deltas().get(EMBEDDING)).terms().size());
    assertThrows(IncompatibleModelException.class, adapter::patch);
  }

  @Test
  void changesOfOneWeightThatDisagreeInShapeAreAMismatch() throws IOException {
    AdapterFolder rows =
        new AdapterFolder()
            .set("trainable_token_indices", "[3]")
            .tensor("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", 1, 1, 6)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 7, 4);
    AdapterFolder saved =
        new AdapterFolder()
            .set("modules_to_save", "[\"lm_head\"]")
            .factors("base_model.model.lm_head", 20, 7)
            .tensor("base_model.model.lm_head.weight", 1, 20, 6);

    for (AdapterFolder folder : List.of(rows, saved)) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () ->
          Patch.from(open(folder), AdapterFolder.base()));
      assertEquals("is [20, 7] by the adapter's factors and [20, 6] by what is stored beside them", refusal.mismatches().get(0).message());
    }
  }

  @Test
  void anAdapterOnOneOfTwoTiedMatricesIsRefused() throws IOException {
    TestModel tied = new TestModel("tied").config("tie_word_embeddings", "true").random(EMBEDDING, DType.F32, 1, 1, 20, 6)
        .random(Q_WEIGHT, DType.F32, 1, 1, 8, 6);
    AdapterFolder embedding =
        new AdapterFolder()
            .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4);
    AdapterFolder head = new AdapterFolder().factors("base_model.model.lm_head", 20, 6);
    AdapterFolder savedHead = new AdapterFolder().factors().set("modules_to_save", "[\"lm_head\"]")
        .tensor("base_model.model.lm_head.weight", 1, 20, 6);

    for (AdapterFolder folder : List.of(embedding, head, savedHead)) {
      assertThrows(IncompatibleModelException.class, () -> Patch.from(open(folder), tied));
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> open(folder).patch().applyTo(tied));
      assertTrue(refusal.mismatches().stream().anyMatch(mismatch -> mismatch.allowedBy().equals(Optional.of(Allow.TIED_EMBEDDINGS))),
          refusal::getMessage);
    }
    // PEFT trains single rows in both places at once.
    AdapterFolder rows =
        new AdapterFolder()
            .factors()
            .set("trainable_token_indices", "[3]")
            .tensor("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", 1, 1, 6);
    assertEquals(Set.of(EMBEDDING, Q_WEIGHT), Patch.from(open(rows), tied).deltas().keySet());
  }

  @Test
  void everyMismatchIsListed() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .factors("base_model.model.model.layers.0.self_attn.q_proj", 8, 7)
            .factors("base_model.model.model.layers.0.self_attn.k_proj", 8, 6)
            .factors("base_model.model.model.norm", 6, 6);

    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> Patch.from(open(folder), AdapterFolder.base()));

    assertEquals(
        List.of("model.layers.0.self_attn.k_proj.weight", Q_WEIGHT, "model.norm.weight"),
        refusal.mismatches().stream().map(Mismatch::tensor).toList());
  }

  @Test
  void anAdapterPatchIsKeptByAPatchFile() throws IOException {
    AdapterFolder folder =
        new AdapterFolder()
            .factors()
            .factors("base_model.model.model.layers.0.c_attn", 6, 18)
            .tensor("base_model.model.model.layers.0.conv.lora_A.weight", 3, 4, 3, 2, 2)
            .tensor("base_model.model.model.layers.0.conv.lora_B.weight", 4, 8, 4, 1, 1)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_A", 5, 4, 20)
            .tensor("base_model.model.model.embed_tokens.lora_embedding_B", 6, 6, 4)
            .set("lora_bias", "true")
            .tensor(Q + ".lora_B.bias", 7, 8)
            .set("modules_to_save", "[\"lm_head\"]")
            .tensor("base_model.model.lm_head.weight", 8, 20, 6);
    TestModel base = AdapterFolder.base();
    PeftAdapter adapter = open(folder);
    int number = 0;

    for (Patch patch : List.of(Patch.from(adapter, base), adapter.patch(), Patch.from(adapter, base).scaledBy(-0.3))) {
      Path file = dir.resolve("p" + number++ + ".safetensors");
      PatchFile.write(patch, file);
      try (PatchFile read = PatchFile.open(file)) {
        assertEquals(Fingerprint.of(patch.applyTo(base)), Fingerprint.of(read.patch().applyTo(base)));
      }
    }
  }

  @Test
  void aReplacementCannotBeScaledAndSaysHowItCould() throws IOException {
    AdapterFolder folder = new AdapterFolder().factors().set("modules_to_save", "[\"lm_head\"]")
        .tensor("base_model.model.lm_head.weight", 1, 20, 6);

    IllegalStateException refusal = assertThrows(IllegalStateException.class, () -> open(folder).patch().scaledBy(2));

    assertTrue(refusal.getMessage().contains("extract the patch against its base"), refusal::getMessage);
  }

  @Test
  void aClosedAdapterSaysSo() throws IOException {
    PeftAdapter adapter = open(new AdapterFolder().factors());
    ModelVersion patched = adapter.patch().applyTo(AdapterFolder.base());
    adapter.close();
    adapter.close();

    assertThrows(IllegalStateException.class, () -> read(patched, Q_WEIGHT));
  }

  @Test
  void anAdapterIsAFolderWithItsConfiguration() throws IOException {
    Path folder = new AdapterFolder().factors().saveTo(dir.resolve("a"));

    assertTrue(PeftAdapter.isAdapter(folder));
    assertFalse(PeftAdapter.isAdapter(dir));
    Files.delete(folder.resolve("adapter_config.json"));
    Files.createDirectory(folder.resolve("adapter_config.json"));
    assertFalse(PeftAdapter.isAdapter(folder));
  }
}
