package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.Allow;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.TokenReport;
import io.portllm.Vocabulary;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Ports by token against the shared goldens: a fine-tune with ten tokens in other rows and three added ones, on a base with two tokens of its
 * own. The goldens were computed in float64 and rounded once.
 */
class TokensGoldenTest {
  private static final Path SHARED = Path.of("../../shared/golden/merge");
  private static final Path MODELS = SHARED.resolve("tok");
  private static final MergeOptions APPENDING = MergeOptions.defaults().allow(Allow.ADDED_TOKENS);

  @TempDir private Path scratch;
  private final List<ModelVersion> opened = new ArrayList<>();
  private ModelVersion base;
  private ModelVersion tuned;
  private ModelVersion newBase;
  private JsonNode ids;

  @BeforeEach
  void open() throws IOException {
    assumeTrue(Files.isDirectory(MODELS), "the shared goldens are not here");
    base = open("base");
    tuned = open("ft");
    newBase = open("new");
    ids = new ObjectMapper().readTree(SHARED.resolve("expected/tokens-ids.json").toFile());
  }

  @AfterEach
  void close() throws IOException {
    for (ModelVersion model : opened) {
      model.close();
    }
  }

  private ModelVersion open(String name) throws IOException {
    ModelVersion model = Checkpoints.open(MODELS.resolve(name));
    opened.add(model);
    return model;
  }

  @Test
  void addedTokensAreRefusedUnlessAnOptionSaysWhatBecomesOfThem() {
    IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Patch.from(tuned, base));
    assertEquals(
        "tensor 'lm_head.weight': has rows in the fine-tuned model for 3 tokens, '<ft_a>', '<ft_b>', 'ftword', that the base lacks; "
            + "other-vocabulary leaves them out (allowed by added-tokens)",
        refusal.mismatches().get(0).toString());
    Patch patch = Patch.from(tuned, base, APPENDING);
    refusal = assertThrows(IncompatibleModelException.class, () -> patch.applyTo(newBase));
    assertEquals(Set.of(Allow.ADDED_TOKENS), Set.of(refusal.mismatches().get(0).allowedBy().orElseThrow()));
  }

  @Test
  void leftOutTokensGiveTheGoldenOfTheSameName() throws IOException {
    MergeOptions leavingOut = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    assertGolden("tokens-report", Patch.from(tuned, base, leavingOut).applyTo(newBase, leavingOut));
    assertGolden("tokens-report", Patch.from(tuned, base, APPENDING).applyTo(newBase, leavingOut));
  }

  @Test
  void appendedTokensGiveTheGoldenOfTheSameNameDirectlyAndThroughAPatchFile() throws IOException {
    Patch patch = Patch.from(tuned, base, APPENDING);
    assertGolden("tokens-append", patch.applyTo(newBase, APPENDING));
    Path file = scratch.resolve("p.patch.safetensors");
    PatchFile.write(patch, file);
    try (PatchFile saved = PatchFile.open(file)) {
      assertEquals(patch.tokens(), saved.patch().tokens());
      assertEquals(patch.tokens().tokens().added().get(128), saved.patch().tokens().tokens().added().get(128));
      assertGolden("tokens-append", saved.patch().applyTo(newBase, APPENDING));
      Goldens.assertSameBits(patch.applyTo(newBase, APPENDING), saved.patch().applyTo(newBase, APPENDING));
    }
  }

  @Test
  void theWrittenTokenizerHasTheGoldensIds() throws IOException {
    Path out = scratch.resolve("out");
    Checkpoints.write(Patch.from(tuned, base, APPENDING).applyTo(newBase, APPENDING), out);
    TreeMap<String, Integer> expected = new TreeMap<>();
    ids.get("token_ids").get("append").properties().forEach(entry -> expected.put(entry.getKey(), entry.getValue().intValue()));
    try (ModelVersion written = Checkpoints.open(out)) {
      Vocabulary vocabulary = written.vocabulary();
      TreeMap<String, Integer> found = new TreeMap<>();
      vocabulary.rows().forEach(row -> found.put(vocabulary.token(row).orElseThrow(), row));
      assertEquals(expected, found);
      assertEquals("133", written.config().get("vocab_size"));
      assertEquals(tuned.vocabulary().added().get(130), vocabulary.added().get(132));
    }
    JsonNode before = new ObjectMapper().readTree(MODELS.resolve("new/tokenizer.json").toFile());
    JsonNode after = new ObjectMapper().readTree(out.resolve("tokenizer.json").toFile());
    assertEquals(before.get("model"), after.get("model"));
    assertEquals(before.get("added_tokens").size() + 3, after.get("added_tokens").size());
    assertArrayEquals(Files.readAllBytes(MODELS.resolve("new/tokenizer_config.json")), Files.readAllBytes(out.resolve("tokenizer_config.json")));
  }

  @Test
  void reportsCountWhatTheGoldenLists() throws IOException {
    TokenReport tuning = TokenReport.between(base.vocabulary(), tuned.vocabulary());
    assertEquals(new TreeSet<>(names("moved_tokens")), new TreeSet<>(tuning.moved().first()));
    assertEquals(10, tuning.moved().count());
    assertEquals(128, tuning.common());
    assertEquals(names("only_in_finetune"), tuning.added().first());
    TokenReport update = TokenReport.between(base.vocabulary(), newBase.vocabulary());
    assertEquals(names("only_in_new_base"), update.added().first());
    assertEquals(0, update.moved().count() + update.removed().count());
  }

  private List<String> names(String key) {
    List<String> names = new ArrayList<>();
    ids.get(key).forEach(node -> names.add(node.asText()));
    return names;
  }

  private static void assertGolden(String name, ModelVersion actual) throws IOException {
    try (ModelVersion expected = Checkpoints.open(SHARED.resolve("expected/" + name + ".safetensors"))) {
      assertEquals(expected.tensors().size(), actual.tensors().size());
      for (TensorInfo tensor : expected.tensors()) {
        assertEquals(tensor, actual.find(tensor.name()).orElseThrow());
        ByteBuffer wanted = Goldens.bytes(expected, tensor);
        ByteBuffer found = Goldens.bytes(actual, tensor);
        for (int i = 0; i < wanted.limit(); i += 4) {
          float one = wanted.getFloat(i);
          float other = found.getFloat(i);
          assertTrue(Math.abs(one - other) <= 1e-7 + 1e-6 * Math.abs(one), tensor.name() + " element " + i / 4 + ": " + one + " and " + other);
        }
      }
    }
  }
}
