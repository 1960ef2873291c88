package io.portllm.io.tokens;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.AddedToken;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Vocabulary;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenizerFilesTest {
  @TempDir private Path scratch;

  private Vocabulary read(Map<String, String> sides) throws IOException {
    TestModel model = new TestModel("m").random("w", DType.F32, 1, 1, 2);
    sides.forEach(model::side);
    try (ModelVersion open = Checkpoints.open(model.saveTo(scratch.resolve("m")))) {
      return open.vocabulary();
    }
  }

  private Vocabulary read(String tokenizer) throws IOException {
    return read(Map.of("tokenizer.json", tokenizer));
  }

  @Test
  void anObjectOfIdsIsRead() throws IOException {
    Vocabulary vocabulary = read("{\"model\": {\"type\": \"BPE\", \"merges\": [[\"a\", \"b\"]], \"vocab\": {\"\\u0120a\": 4, \"😀\": 2, \"\": 0}}}");
    assertEquals(Vocabulary.builder().add(4, "Ġa").add(2, "😀").add(0, "").build(), vocabulary);
  }

  @Test
  void aListOfScoresIsReadInItsOrder() throws IOException {
    Vocabulary vocabulary = read("{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"<unk>\", 0.0], [\"▁the\", -3.5e0], [\"x\", -1e999]]}}");
    assertEquals(Vocabulary.builder().add(0, "<unk>").add(1, "▁the").add(2, "x").build(), vocabulary);
  }

  @Test
  void addedTokensCountBeforeOthersOfTheirIdWhereverTheyStand() throws IOException {
    String added = "\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true, \"lstrip\": true, \"future\": {\"a\": []}}]";
    String model = "\"model\": {\"vocab\": {\"a\": 0, \"b\": 1}}";
    for (String tokenizer : new String[] {"{" + added + ", " + model + "}", "{" + model + ", " + added + "}"}) {
      Vocabulary vocabulary = read(tokenizer);
      assertEquals(OptionalInt.of(1), vocabulary.row("<s>"));
      assertEquals(OptionalInt.empty(), vocabulary.row("b"));
      assertEquals(Map.of(1, new AddedToken("<s>", true, false, true, false, false)), vocabulary.added());
    }
  }

  @Test
  void olderFilesAreReadWhereThereIsNoTokenizerJson() throws IOException {
    Map<String, String> old = Map.of("vocab.json", "{\"a\": 0, \"b\": 1}", "added_tokens.json", "{\"<x>\": 2}");
    assertEquals(Vocabulary.builder().add(0, "a").add(1, "b").add(2, "<x>").build(), read(old));
  }

  @Test
  void nothingIsKnownWithoutTokenizerOrItsModel() throws IOException {
    assertTrue(read(Map.of("tokenizer.model", "x")).isEmpty());
    assertTrue(read("{\"version\": \"1.0\"}").isEmpty());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "TK-JSON | {\"model\": {\"vocab\": {\"a\": 0",
        "TK-JSON | {\"model\" {",
        "TK-VOCAB | []",
        "TK-VOCAB | {\"model\": []}",
        "TK-VOCAB | {\"model\": {}}",
        "TK-VOCAB | {\"model\": {\"vocab\": 3}}",
        "TK-VOCAB | {\"model\": {\"vocab\": [\"a\"]}}",
        "TK-VOCAB | {\"model\": {\"vocab\": [[1, 2]]}}",
        "TK-ID | {\"model\": {\"vocab\": {\"a\": -1}}}",
        "TK-ID | {\"model\": {\"vocab\": {\"a\": 2147483647}}}",
        "TK-ID | {\"model\": {\"vocab\": {\"a\": 99999999999999999999}}}",
        "TK-ID | {\"model\": {\"vocab\": {\"a\": 1.5}}}",
        "TK-JSON | {\"model\": {\"vocab\": {\"\\ud800\": 1}}}",
        "TK-TEXT | {\"model\": {\"vocab\": [[\"\\ud800\", 1]]}}",
        "TK-ADDED | {\"added_tokens\": {}, \"model\": {\"vocab\": {}}}",
        "TK-ADDED | {\"added_tokens\": [3], \"model\": {\"vocab\": {}}}",
        "TK-ADDED | {\"added_tokens\": [{\"id\": 3}], \"model\": {\"vocab\": {}}}",
        "TK-ADDED | {\"added_tokens\": [{\"id\": 3, \"content\": \"a\", \"special\": 1}], \"model\": {\"vocab\": {}}}"
      })
  void malformedTokenizersAreRefusedByRule(String rule, String tokenizer) {
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> read(tokenizer));
    assertEquals(rule, refusal.rule(), refusal::getMessage);
    assertTrue(refusal.getMessage().startsWith("[" + scratch.resolve("m/tokenizer.json") + "] "), refusal::getMessage);
  }

  @Test
  void otherEncodingsAreRefused() {
    assertEquals("TK-JSON", assertThrows(MalformedModelException.class, () -> read("\ufeff{}")).rule());
    assertEquals("TK-JSON", assertThrows(MalformedModelException.class, () -> read("{\0}\0")).rule());
  }

  @Test
  void manyTokensAreReadFromAFileOfSeveralBuffers() throws IOException {
    assertEquals(30_000, read(Tokenizers.json(Tokenizers.words(30_000))).size());
  }
}
