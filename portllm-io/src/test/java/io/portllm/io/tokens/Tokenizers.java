package io.portllm.io.tokens;

import io.portllm.DType;
import io.portllm.io.write.TestModel;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** Small models with tokenizers. */
final class Tokenizers {
  static final int COLUMNS = 6;

  private Tokenizers() {}

  /** A word-level tokenizer of these tokens in this order; those that begin with {@code <} are added ones. */
  static String json(List<String> tokens) {
    StringBuilder added = new StringBuilder();
    StringBuilder vocabulary = new StringBuilder();
    for (int id = 0; id < tokens.size(); id++) {
      String token = '"' + tokens.get(id) + '"';
      if (tokens.get(id).startsWith("<")) {
        added.append(added.isEmpty() ? "" : ", ").append("{\"id\": ").append(id).append(", \"content\": ").append(token)
            .append(", \"single_word\": false, \"lstrip\": false, \"rstrip\": true, \"normalized\": false, \"special\": true}");
      } else {
        vocabulary.append(vocabulary.isEmpty() ? "" : ", ").append(token).append(": ").append(id);
      }
    }
    return "{\"version\": \"1.0\", \"added_tokens\": [" + added + "], \"model\": {\"type\": \"WordLevel\", \"vocab\": {" + vocabulary
        + "}, \"unk_token\": \"w0\"}}";
  }

  /** The words {@code w0}, {@code w1}, ... */
  static List<String> words(int count) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      words.add("w" + i);
    }
    return words;
  }

  static List<String> shuffled(List<String> tokens, long seed) {
    List<String> shuffled = new ArrayList<>(tokens);
    Collections.shuffle(shuffled, new Random(seed));
    return shuffled;
  }

  /** {@code tokens} and then {@code more}. */
  static List<String> and(List<String> tokens, String... more) {
    List<String> all = new ArrayList<>(tokens);
    all.addAll(List.of(more));
    return all;
  }

  /**
   * A model with an embedding, a head and its bias, and a matrix. A token has the same random rows wherever it is.
   *
   * @param padding rows after those of the tokens
   */
  static TestModel model(String name, DType type, List<String> tokens, int padding, long seed) {
    int rows = tokens.size() + padding;
    return new TestModel(name)
        .config("vocab_size", Integer.toString(rows))
        .config("tie_word_embeddings", "false")
        .side("tokenizer.json", json(tokens))
        .tensor("model.embed_tokens.weight", type, rows(type, tokens, padding, seed, COLUMNS), rows, COLUMNS)
        .random("model.layers.0.mlp.up_proj.weight", type, seed + 1, 1, 4, COLUMNS)
        .tensor("lm_head.weight", type, rows(type, tokens, padding, seed + 2, COLUMNS), rows, COLUMNS)
        .tensor("lm_head.bias", type, rows(type, tokens, padding, seed + 3, 1), rows);
  }

  private static byte[] rows(DType type, List<String> tokens, int padding, long seed, int columns) {
    ByteBuffer bytes = ByteBuffer.allocate((tokens.size() + padding) * columns * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    tokens.forEach(token -> bytes.put(TestModel.values(type, seed * 7919 + token.hashCode(), 1, columns)));
    for (int i = 0; i < padding; i++) {
      bytes.put(TestModel.values(type, seed * 7919 - i, 1, columns));
    }
    return bytes.array();
  }
}
