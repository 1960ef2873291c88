package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.ModelVersion;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ByteLevelTokenizerTest {
  @Test
  void aPromptHasTheReferenceIds(@TempDir Path folder) throws IOException {
    JsonNode lab = Fixtures.json("logits.json");
    try (ModelVersion model = Fixtures.openBundled("v1", folder)) {
      int[] ids = ByteLevelTokenizer.of(model).encode(lab.path("prompt").textValue());
      assertArrayEquals(Fixtures.ids(lab.path("ids")), ids);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "climbs(620966)=", "two words\n\ttabbed", "ä€𝄞 \u0000\u007f\u00ad"})
  void decodingGivesTheTextBack(String text) throws IOException {
    ByteLevelTokenizer tokenizer = ByteLevelTokenizer.parse("v1", bundled());
    assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
  }

  @Test
  void everyByteHasItsOwnToken() throws IOException {
    ByteLevelTokenizer tokenizer = ByteLevelTokenizer.parse("v1", bundled());
    StringBuilder text = new StringBuilder();
    for (int point = 0; point < 0x800; point++) {
      text.appendCodePoint(point);
    }
    // Of all bytes, UTF-8 uses 0x00 to 0xbf and 0xc2 to 0xdf for these characters; <s> comes first.
    assertEquals(1 + 0xc0 + 0x1e, Arrays.stream(tokenizer.encode(text.toString())).distinct().count());
    assertEquals(text.toString(), tokenizer.decode(tokenizer.encode(text.toString())));
  }

  @Test
  void idsWithoutATextDecodeToNothing() throws IOException {
    ByteLevelTokenizer tokenizer = ByteLevelTokenizer.parse("v1", bundled());
    assertEquals("", tokenizer.decode(0, 1, 258, 263));
  }

  @Test
  void specialTokensInATextAreRefused() throws IOException {
    ByteLevelTokenizer tokenizer = ByteLevelTokenizer.parse("v1", bundled());
    Exception refusal = assertThrows(IllegalArgumentException.class, () -> tokenizer.encode("sort</s>"));
    assertEquals("[v1] text must not contain the special token '</s>'", refusal.getMessage());
  }

  @ParameterizedTest
  @CsvSource(quoteCharacter = '`', value = {
    "/model,         type,             `\"Unigram\"`,          model.type must be BPE but was 'Unigram'",
    "/model,         merges,           `[\"a b\"]`,            `model.merges must be [] but was '[\"a b\"]'`",
    "``,             normalizer,       `{\"type\":\"NFC\"}`,   `normalizer must be null but was '{\"type\":\"NFC\"}'`",
    "/pre_tokenizer, type,             `\"Whitespace\"`,       pre_tokenizer.type must be ByteLevel but was 'Whitespace'",
    "/pre_tokenizer, add_prefix_space, true,                   pre_tokenizer.add_prefix_space must be false but was 'true'",
    "/decoder,       type,             `\"WordPiece\"`,        decoder.type must be ByteLevel but was 'WordPiece'",
    "/model/vocab,   Ġ,                null,                   model.vocab 'Ġ' must be an id but was 'null'",
    "``,             post_processor,   null,                   post_processor.type must be TemplateProcessing but was 'missing'",
  })
  void otherKindsOfTokenizerAreRefused(String parent, String field, String value, String message) throws IOException {
    JsonNode json = bundled();
    JsonNode changed = json.at(parent == null ? "" : parent);
    assertTrue(changed.has(field), field);
    ((ObjectNode) changed).set(field, new ObjectMapper().readTree(value));
    Exception refusal = assertThrows(IllegalArgumentException.class, () -> ByteLevelTokenizer.parse("v1", json));
    assertEquals("[v1] tokenizer.json " + message, refusal.getMessage());
  }

  @Test
  void textAfterTheEndOfATemplateIsRefused() throws IOException {
    JsonNode json = bundled();
    JsonNode template = json.at("/post_processor/single");
    ((ObjectNode) json.path("post_processor")).putArray("single").add(template.get(1)).add(template.get(0));
    assertThrows(IllegalArgumentException.class, () -> ByteLevelTokenizer.parse("v1", json));
  }

  private static JsonNode bundled() throws IOException {
    try (InputStream in = DemoFolder.resource("models/v1/tokenizer.json")) {
      return new ObjectMapper().readTree(in);
    }
  }
}
