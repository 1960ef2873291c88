package io.portllm.bench.real;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Compares with the ids that Hugging Face's tokenizers 0.23 gives. {@code tokenizer.json} is bge-small-en's with the pieces that
 * occur in these texts: fewer pieces that occur nowhere do not change which are longest.
 */
class BertTokenizerTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int UNCUT = 512;

  private static InputStream resource(String name) {
    return BertTokenizerTest.class.getResourceAsStream(name);
  }

  private static BertTokenizer tokenizer() throws IOException {
    try (InputStream json = resource("tokenizer.json")) {
      return BertTokenizer.read(json);
    }
  }

  private static int[] ids(JsonNode array) {
    int[] ids = new int[array.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = array.get(i).intValue();
    }
    return ids;
  }

  @Test
  void givesTheIdsOfHuggingFaceForAllDescriptionsAndLabels() throws IOException {
    BertTokenizer tokenizer = tokenizer();
    JsonNode sections = JSON.readTree(Path.of("src/real/sections.json").toFile());
    List<String> texts = new ArrayList<>();
    sections.path("texts").forEach(text -> texts.add(text.get(0).textValue()));
    sections.path("labels").forEach(label -> texts.add(label.textValue()));
    JsonNode expected = JSON.readTree(resource("sections-ids.json"));
    assertEquals(976, texts.size());
    assertEquals(976, expected.size());
    for (int i = 0; i < texts.size(); i++) {
      assertArrayEquals(ids(expected.get(i)), tokenizer.encode(texts.get(i), UNCUT), texts.get(i));
    }
  }

  @Test
  void givesTheIdsOfHuggingFaceForOddTexts() throws IOException {
    BertTokenizer tokenizer = tokenizer();
    JsonNode odd = JSON.readTree(resource("odd-texts.json"));
    assertEquals(32, odd.size());
    for (JsonNode text : odd) {
      assertArrayEquals(ids(text.get(1)), tokenizer.encode(text.get(0).textValue(), UNCUT), text.get(0).toString());
    }
  }

  @Test
  void cutsTokensPastTheLimitAndKeepsTheSeparator() throws IOException {
    BertTokenizer tokenizer = tokenizer();
    int[] whole = tokenizer.encode("a card game against two virtual players", UNCUT);
    assertEquals(9, whole.length);
    assertArrayEquals(whole, tokenizer.encode("a card game against two virtual players", 9));
    assertArrayEquals(
        new int[] {whole[0], whole[1], whole[2], whole[3], whole[8]}, tokenizer.encode("a card game against two virtual players", 5));
  }

  @Test
  void refusesOtherKindsOfTokenizer() throws IOException {
    String json = new String(resource("tokenizer.json").readAllBytes(), StandardCharsets.UTF_8);
    assertRefused("tokenizer.json: /model/type must be WordPiece but was BPE", json.replace("\"WordPiece\",\"unk", "\"BPE\",\"unk"));
    assertRefused(
        "tokenizer.json: /normalizer/lowercase must be true but was false", json.replace("\"lowercase\":true", "\"lowercase\":false"));
    assertRefused("tokenizer.json: the vocabulary has no [SEP]", json.replace("\"[SEP]\":102", "\"[sep]\":102"));
  }

  private static void assertRefused(String message, String json) {
    InputStream stream = new ByteArrayInputStream(json.getBytes(StandardCharsets.UTF_8));
    assertEquals(message, assertThrows(IOException.class, () -> BertTokenizer.read(stream)).getMessage());
  }
}
