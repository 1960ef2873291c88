package io.portllm.io.tokens;

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
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.write.TestModel;
import io.portllm.merge.MergeMethod;
import io.portllm.merge.Merging;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TokenRowsTest {
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String HEAD = "lm_head.weight";
  private static final List<String> ROWS = List.of(EMBEDDING, HEAD, "lm_head.bias");
  private static final List<String> WORDS = Tokenizers.words(40);
  private static final MergeOptions NONE = MergeOptions.defaults();
  private static final MergeOptions APPENDING = NONE.allow(Allow.ADDED_TOKENS);
  private static final MergeOptions LEAVING_OUT = NONE.allow(Allow.OTHER_VOCABULARY);

  @TempDir private Path scratch;
  private final List<AutoCloseable> opened = new ArrayList<>();
  private int saved;

  @AfterEach
  void close() throws Exception {
    for (AutoCloseable model : opened) {
      model.close();
    }
  }

  private ModelVersion open(TestModel model) throws IOException {
    ModelVersion version = Checkpoints.open(model.saveTo(scratch.resolve("m" + saved++).resolve(model.name())));
    opened.add(version);
    return version;
  }

  private ModelVersion model(DType type, List<String> tokens, int padding, long seed) throws IOException {
    return open(Tokenizers.model("model" + seed, type, tokens, padding, seed));
  }

  private ModelVersion model(List<String> tokens, int padding, long seed) throws IOException {
    return model(DType.F32, tokens, padding, seed);
  }

  private static byte[] bytes(ModelVersion model, String tensor) throws IOException {
    TensorInfo info = model.find(tensor).orElseThrow();
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes());
    model.read(info, 0, bytes);
    return bytes.array();
  }

  /** The bytes of each token's rows in all tensors that have rows. */
  private static Map<String, byte[]> rows(ModelVersion model) throws IOException {
    Map<String, byte[]> rows = new HashMap<>();
    for (int row : model.vocabulary().rows().toArray()) {
      for (String tensor : ROWS) {
        rows.put(tensor + " " + model.vocabulary().token(row).orElseThrow(), row(model, tensor, row));
      }
    }
    return rows;
  }

  private static byte[] row(ModelVersion model, String tensor, int row) throws IOException {
    TensorInfo info = model.find(tensor).orElseThrow();
    int length = (int) (info.bytes() / info.shape().rows());
    return Arrays.copyOfRange(bytes(model, tensor), row * length, (row + 1) * length);
  }

  private static byte[] row(ModelVersion model, String tensor, String token) throws IOException {
    return row(model, tensor, model.vocabulary().row(token).orElseThrow());
  }

  private static void assertSameRows(Map<String, byte[]> expected, Map<String, byte[]> found) {
    assertEquals(expected.keySet(), found.keySet());
    expected.forEach((key, row) -> assertArrayEquals(row, found.get(key), key));
  }

  private Patch saved(Patch patch) throws IOException {
    Path file = scratch.resolve("p" + saved++ + ".patch.safetensors");
    PatchFile.write(patch, file);
    PatchFile open = PatchFile.open(file);
    opened.add(open);
    return open.patch();
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "BF16", "F16"})
  void aPortOntoAReorderedBaseIsTheReorderedPort(DType type) throws IOException {
    Patch patch = Patch.from(model(type, WORDS, 3, 2), model(type, WORDS, 3, 1));
    ModelVersion plain = patch.applyTo(model(type, WORDS, 3, 5));
    ModelVersion reordered = patch.applyTo(model(type, Tokenizers.shuffled(WORDS, 9), 3, 5));
    assertFalse(Arrays.equals(bytes(plain, EMBEDDING), bytes(reordered, EMBEDDING)));
    assertSameRows(rows(plain), rows(reordered));
    for (int padding = 40; padding < 43; padding++) {
      assertArrayEquals(row(plain, HEAD, padding), row(reordered, HEAD, padding));
    }
    assertArrayEquals(bytes(plain, "model.layers.0.mlp.up_proj.weight"), bytes(reordered, "model.layers.0.mlp.up_proj.weight"));
  }

  @Test
  void theOrderOfTheFineTunesTokensChangesNothing() throws IOException {
    ModelVersion base = model(WORDS, 3, 1);
    ModelVersion newBase = model(WORDS, 3, 5);
    ModelVersion plain = Patch.from(model(WORDS, 3, 2), base).applyTo(newBase);
    ModelVersion reordered = Patch.from(model(Tokenizers.shuffled(WORDS, 4), 3, 2), base).applyTo(newBase);
    for (TensorInfo tensor : plain.tensors()) {
      assertArrayEquals(bytes(plain, tensor.name()), bytes(reordered, tensor.name()), tensor.name());
    }
  }

  @Test
  void aPatchFileKnowsTheTokensOfItsRows() throws IOException {
    Patch patch = Patch.from(model(Tokenizers.shuffled(WORDS, 4), 0, 2), model(WORDS, 3, 1));
    ModelVersion newBase = model(Tokenizers.shuffled(WORDS, 9), 7, 5);
    Patch read = saved(patch);
    assertEquals(patch.tokens(), read.tokens());
    for (TensorInfo tensor : newBase.tensors()) {
      assertArrayEquals(bytes(patch.applyTo(newBase), tensor.name()), bytes(read.applyTo(newBase), tensor.name()), tensor.name());
    }
    assertEquals(TokenRows.unknown(), saved(patch.only("*.mlp.*")).tokens());
  }

  @Test
  void otherRowsOfPaddingNeedNoLeave() throws IOException {
    ModelVersion base = model(WORDS, 3, 1);
    Patch patch = Patch.from(model(WORDS, 0, 2), base);
    ModelVersion newBase = model(WORDS, 24, 5);
    ModelVersion ported = patch.applyTo(newBase);
    assertEquals(64, ported.find(EMBEDDING).orElseThrow().shape().rows());
    assertArrayEquals(row(newBase, EMBEDDING, 41), row(ported, EMBEDDING, 41));
    assertFalse(Arrays.equals(row(newBase, EMBEDDING, 39), row(ported, EMBEDDING, 39)));
    assertSameRows(rows(Patch.from(model(WORDS, 3, 2), base).applyTo(newBase)), rows(ported));
  }

  @Test
  void tokensOfTheNewBaseAloneKeepTheirBits() throws IOException {
    ModelVersion newBase = model(Tokenizers.and(Tokenizers.shuffled(WORDS, 9), "<new>"), 2, 5);
    ModelVersion ported = Patch.from(model(WORDS, 3, 2), model(WORDS, 3, 1)).applyTo(newBase);
    for (String tensor : ROWS) {
      assertArrayEquals(row(newBase, tensor, "<new>"), row(ported, tensor, "<new>"));
    }
  }

  @Test
  void changesToTokensThatTheNewBaseLacksAreRefusedOrLeftOut() throws IOException {
    Patch patch = Patch.from(model(WORDS, 0, 2), model(WORDS, 0, 1));
    ModelVersion newBase = model(WORDS.subList(1, 38), 0, 5);
    List<Mismatch> mismatches = assertThrows(IncompatibleModelException.class, () -> patch.applyTo(newBase)).mismatches();
    assertEquals(
        "tensor 'lm_head.bias': has changes in the patch for 3 tokens, 'w0', 'w38', 'w39', that the new base lacks (allowed by other-vocabulary)",
        mismatches.get(0).toString());
    assertEquals(1, mismatches.size());
    Map<String, byte[]> all = rows(patch.applyTo(model(WORDS, 0, 5)));
    Map<String, byte[]> found = rows(patch.applyTo(newBase, LEAVING_OUT));
    assertEquals(37 * ROWS.size(), found.size());
    found.forEach((key, row) -> assertArrayEquals(all.get(key), row, key));
  }

  @Test
  void onlyTokensWhoseRowsChangeMustBeInTheNewBase() throws IOException {
    ModelVersion base = model(WORDS, 0, 1);
    ModelVersion newBase = model(WORDS.subList(1, 40), 0, 5);
    TensorInfo info = base.find(EMBEDDING).orElseThrow();
    ModelVersion tuned = model(WORDS, 0, 2);
    Delta rows = new Delta.RowReplacement(ImmutableLongArray.of(39), firstRow(tuned), info.shape());
    Patch patch = Patch.of(Map.of(EMBEDDING, rows), Optional.empty(), "row").withTokens(new TokenRows(base.vocabulary(), 40));
    assertArrayEquals(row(tuned, EMBEDDING, 0), row(patch.applyTo(newBase), EMBEDDING, "w39"));
    assertArrayEquals(row(newBase, EMBEDDING, "w38"), row(patch.applyTo(newBase), EMBEDDING, "w38"));
    Delta other = new Delta.RowReplacement(ImmutableLongArray.of(0), firstRow(tuned), info.shape());
    Patch gone = Patch.of(Map.of(EMBEDDING, other), Optional.empty(), "row").withTokens(new TokenRows(base.vocabulary(), 40));
    assertThrows(IncompatibleModelException.class, () -> gone.applyTo(newBase));
  }

  private static Tensor firstRow(ModelVersion tuned) throws IOException {
    byte[] row = row(tuned, EMBEDDING, 0);
    TestModel one = new TestModel("row").tensor("row", DType.F32, row, 1, Tokenizers.COLUMNS);
    return one.tensor("row").orElseThrow();
  }

  @Test
  void tokensThatTheFineTuneLacksStayAsTheyAre() throws IOException {
    ModelVersion base = model(WORDS, 0, 1);
    ModelVersion tuned = model(WORDS.subList(0, 39), 0, 2);
    assertEquals(
        Optional.of(Allow.OTHER_VOCABULARY),
        assertThrows(IncompatibleModelException.class, () -> Patch.from(tuned, base)).mismatches().get(0).allowedBy());
    ModelVersion newBase = model(WORDS, 0, 5);
    ModelVersion ported = saved(Patch.from(tuned, base, LEAVING_OUT)).applyTo(newBase);
    assertArrayEquals(row(newBase, EMBEDDING, "w39"), row(ported, EMBEDDING, "w39"));
    assertFalse(Arrays.equals(row(newBase, EMBEDDING, "w38"), row(ported, EMBEDDING, "w38")));
  }

  @Test
  void appendedTokensHaveTheFineTunesRowsBitForBit() throws IOException {
    ModelVersion base = model(DType.BF16, WORDS, 8, 1);
    ModelVersion tuned = model(DType.BF16, Tokenizers.and(WORDS, "<a>", "<b>"), 0, 2);
    Patch patch = Patch.from(tuned, base, APPENDING);
    assertEquals(List.of("<a>", "<b>"), patch.tokens().added());
    // One goes into the row of padding, for the other the matrix grows.
    ModelVersion newBase = model(DType.BF16, Tokenizers.and(Tokenizers.shuffled(WORDS, 9), "<n>"), 1, 5);
    Path out = scratch.resolve("out");
    Checkpoints.write(saved(patch).applyTo(newBase, APPENDING), out);
    ModelVersion written = Checkpoints.open(out);
    opened.add(written);
    assertEquals(43, written.find(EMBEDDING).orElseThrow().shape().rows());
    assertEquals("43", written.config().get("vocab_size"));
    assertEquals(41, written.vocabulary().row("<a>").orElseThrow());
    assertEquals(42, written.vocabulary().row("<b>").orElseThrow());
    for (String tensor : ROWS) {
      assertArrayEquals(row(tuned, tensor, "<a>"), row(written, tensor, "<a>"));
      assertArrayEquals(row(tuned, tensor, "<b>"), row(written, tensor, "<b>"));
      assertArrayEquals(row(newBase, tensor, "<n>"), row(written, tensor, "<n>"));
    }
    assertEquals(tuned.vocabulary().added().get(40), written.vocabulary().added().get(41));
  }

  @Test
  void anAddedTokenThatTheNewBaseHasTooGetsTheFineTunesRowOrKeepsItsOwn() throws IOException {
    ModelVersion tuned = model(Tokenizers.and(WORDS, "<a>"), 0, 2);
    Patch patch = Patch.from(tuned, model(WORDS, 0, 1), APPENDING);
    ModelVersion newBase = model(Tokenizers.and(List.of("<a>"), WORDS.toArray(String[]::new)), 0, 5);
    ModelVersion replaced = patch.applyTo(newBase, APPENDING);
    assertArrayEquals(row(tuned, EMBEDDING, "<a>"), row(replaced, EMBEDDING, "<a>"));
    assertEquals(newBase.tensors(), replaced.tensors());
    assertArrayEquals(row(newBase, EMBEDDING, "<a>"), row(patch.applyTo(newBase, LEAVING_OUT), EMBEDDING, "<a>"));
  }

  @Test
  void aHeadThatThePatchLeavesAloneCannotGetMoreTokens() throws IOException {
    Patch patch = Patch.from(model(Tokenizers.and(WORDS, "<a>"), 0, 2), model(WORDS, 0, 1), APPENDING);
    ModelVersion newBase = model(WORDS, 0, 5);
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> patch.except("lm_head.*").applyTo(newBase, APPENDING));
    assertEquals(
        List.of("lm_head.weight", "lm_head.bias"), refusal.mismatches().stream().map(Mismatch::tensor).toList());
    assertEquals(newBase.tensors(), patch.only("*.mlp.*").applyTo(newBase, APPENDING).tensors());
  }

  @Test
  void modelsWhoseFilesCannotBeGivenTokensAreRefused() throws IOException {
    Patch patch = Patch.from(model(Tokenizers.and(WORDS, "<a>"), 0, 2), model(WORDS, 0, 1), APPENDING);
    TestModel hole = Tokenizers.model("hole", DType.F32, WORDS, 0, 5).side("tokenizer.json", Tokenizers.json(WORDS).replace("\"w3\": 3, ", ""));
    refused(patch, hole, "its ids have holes");
    refused(patch, Tokenizers.model("config", DType.F32, WORDS, 0, 5).config("vocab_size", "39"), "config.json states another vocab_size");
    refused(patch, Tokenizers.model("old", DType.F32, WORDS, 0, 5).without("tokenizer.json").side("vocab.json", vocabulary()), "there is no tokenizer.json");
    TestModel more = Tokenizers.model("more", DType.F32, WORDS, 0, 5).random("final_logits_bias", DType.F32, 1, 1, 1, 40);
    assertTrue(
        assertThrows(
                IncompatibleModelException.class, () -> patch.applyTo(open(more), APPENDING.allow(Allow.EXTRA_TENSORS)))
            .getMessage()
            .contains("'final_logits_bias': is [1, 40], as many as the embedding has rows"));
  }

  private static String vocabulary() {
    String json = Tokenizers.json(WORDS);
    return json.substring(json.indexOf("{", json.indexOf("\"vocab\"")), json.indexOf("}") + 1);
  }

  private void refused(Patch patch, TestModel newBase, String why) throws IOException {
    ModelVersion model = open(newBase);
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> patch.applyTo(model, APPENDING.allow(Allow.OTHER_VOCABULARY)).close(), newBase.name());
    assertTrue(refusal.getMessage().contains(why), refusal::getMessage);
  }

  @Test
  void rowsAreMatchedByIndexWhereThatIsWanted() throws IOException {
    MergeOptions byIndex = NONE.allow(Allow.ROWS_BY_INDEX);
    ModelVersion base = model(WORDS, 0, 1);
    List<String> renamed = new ArrayList<>(WORDS);
    renamed.set(7, "<tool>");
    ModelVersion tuned = model(renamed, 0, 2);
    ModelVersion newBase = model(WORDS, 0, 5);
    Patch patch = Patch.from(tuned, base, byIndex);
    assertFalse(patch.tokens().areKnown());
    assertThrows(IncompatibleModelException.class, () -> Patch.from(tuned, base));
    assertFalse(Arrays.equals(row(newBase, EMBEDDING, 7), row(patch.applyTo(newBase), EMBEDDING, 7)));
  }

  @Test
  void patchesOfOtherTokensAreNotAdded() throws IOException {
    ModelVersion base = model(WORDS, 0, 1);
    Patch one = Patch.from(model(Tokenizers.and(WORDS, "<a>"), 0, 2), base, APPENDING);
    Patch other = Patch.from(model(Tokenizers.and(WORDS, "<b>"), 0, 3), base, APPENDING);
    assertThrows(IllegalArgumentException.class, () -> one.plus(other));
    assertThrows(IllegalArgumentException.class, () -> Merging.merge(List.of(one, other), new MergeMethod.Sum()));
    assertEquals(one.tokens(), one.plus(other.only("*.mlp.*")).tokens());
    assertEquals(one.tokens(), one.scaledBy(0.5).tokens());
  }

  @Test
  void aSmallerPatchKeepsItsTokens() throws IOException {
    Patch patch = Patch.from(model(Tokenizers.and(WORDS, "<a>"), 0, 2), model(WORDS, 0, 1), APPENDING);
    Patch small = saved(LowRankExtraction.by(RankRule.rank(2)).of(patch).patch());
    ModelVersion newBase = model(Tokenizers.shuffled(WORDS, 9), 0, 5);
    assertSameRows(rows(patch.applyTo(newBase, APPENDING)), rows(small.applyTo(newBase, APPENDING)));
  }

  @Test
  void trainedTokenRowsOfAnAdapterFollowTheirTokens() throws IOException {
    Path folder = Files.createDirectory(scratch.resolve("adapter"));
    Files.writeString(
        folder.resolve("adapter_config.json"),
        "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2, \"target_modules\": [\"up_proj\"], "
            + "\"trainable_token_indices\": {\"embed_tokens\": [3, 39]}}");
    String prefix = "base_model.model.model.";
    new TestModel("adapter")
        .random(prefix + "layers.0.mlp.up_proj.lora_A.weight", DType.F32, 1, 1, 2, Tokenizers.COLUMNS)
        .random(prefix + "layers.0.mlp.up_proj.lora_B.weight", DType.F32, 2, 1, 4, 2)
        .random(prefix + "embed_tokens.token_adapter.trainable_tokens_delta", DType.F32, 3, 1, 2, Tokenizers.COLUMNS)
        .saveFile(folder.resolve("adapter_model.safetensors"));
    ModelVersion newBase = model(Tokenizers.shuffled(WORDS, 9), 5, 5);
    ModelVersion inOrder = model(WORDS, 5, 5);
    ModelVersion base = model(WORDS, 0, 1);
    try (PeftAdapter adapter = PeftAdapter.open(folder)) {
      Patch patch = Patch.from(adapter, base);
      ModelVersion ported = saved(patch).applyTo(newBase);
      assertSameRows(rows(patch.applyTo(inOrder)), rows(ported));
      assertFalse(Arrays.equals(row(newBase, EMBEDDING, "w39"), row(ported, EMBEDDING, "w39")));
      assertArrayEquals(row(newBase, EMBEDDING, "w38"), row(ported, EMBEDDING, "w38"));
    }
    Files.writeString(folder.resolve("tokenizer.json"), Tokenizers.json(WORDS));
    try (PeftAdapter adapter = PeftAdapter.open(folder)) {
      ModelVersion ported = adapter.patch().applyTo(newBase);
      assertArrayEquals(row(adapter.patch().applyTo(inOrder), EMBEDDING, "w3"), row(ported, EMBEDDING, "w3"));
      assertArrayEquals(row(newBase, EMBEDDING, "w38"), row(ported, EMBEDDING, "w38"));
    }
  }
}
