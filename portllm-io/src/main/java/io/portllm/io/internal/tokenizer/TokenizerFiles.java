package io.portllm.io.internal.tokenizer;

import com.fasterxml.jackson.core.JsonToken;
import io.portllm.AddedToken;
import io.portllm.SideFile;
import io.portllm.Vocabulary;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Reads the vocabulary of a model's tokenizer.
 *
 * <p>{@code tokenizer.json} has it as {@code model.vocab}, an object from token to id, or for Unigram an array of
 * {@code [token, score]} in the order of the ids, and the tokens that were added later as {@code added_tokens}, which count where an id has
 * both; without a {@code model} nothing is known. Without that file {@code vocab.json} and {@code added_tokens.json}, objects from token to id, are read; a sentencepiece model alone
 * is not.
 */
public final class TokenizerFiles {
  /** The file that has the vocabulary of most models. */
  public static final String TOKENIZER = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String ADDED = "added_tokens.json";

  private final JsonSource json;
  private final Vocabulary.Builder builder = Vocabulary.builder();

  /** What {@code added_tokens} says. */
  private record Added(int row, AddedToken token) {}

  private TokenizerFiles(JsonSource json) {
    this.json = json;
  }

  /**
   * The vocabulary that {@code sideFiles} have; empty if none has one.
   *
   * @param folder the model that they belong to, for messages
   * @throws io.portllm.io.MalformedModelException if a file breaks a rule of its format
   */
  public static Vocabulary vocabulary(Path folder, List<SideFile> sideFiles) throws IOException {
    Optional<SideFile> tokenizer = named(sideFiles, TOKENIZER);
    if (tokenizer.isPresent()) {
      try (JsonSource json = JsonSource.open(folder, tokenizer.get())) {
        return new TokenizerFiles(json).tokenizer();
      }
    }
    Optional<SideFile> plain = named(sideFiles, VOCABULARY);
    if (plain.isEmpty()) {
      return Vocabulary.empty();
    }
    Vocabulary vocabulary = read(folder, plain.get());
    Optional<SideFile> added = named(sideFiles, ADDED);
    return added.isEmpty() ? vocabulary : Vocabulary.builder().addAll(vocabulary).addAll(read(folder, added.get())).build();
  }

  static Optional<SideFile> named(List<SideFile> sideFiles, String name) {
    return sideFiles.stream().filter(file -> file.name().equals(name)).findFirst();
  }

  private static Vocabulary read(Path folder, SideFile file) throws IOException {
    try (JsonSource json = JsonSource.open(folder, file)) {
      TokenizerFiles reader = new TokenizerFiles(json);
      json.next();
      reader.ids();
      return reader.builder.build();
    }
  }

  private Vocabulary tokenizer() throws IOException {
    List<Added> added = new ArrayList<>();
    json.next();
    json.require(JsonToken.START_OBJECT, "the tokenizer", "TK-VOCAB");
    boolean found = false;
    while (json.next() == JsonToken.FIELD_NAME) {
      String name = json.text();
      json.next();
      if (name.equals("added_tokens") && !json.is(JsonToken.VALUE_NULL)) {
        added.addAll(added());
      } else if (name.equals("model") && !json.is(JsonToken.VALUE_NULL)) {
        model();
        found = true;
      } else {
        json.skip();
      }
    }
    if (!found) {
      return Vocabulary.empty();
    }
    added.forEach(token -> builder.add(token.row(), token.token()));
    return builder.build();
  }

  private void model() throws IOException {
    boolean found = false;
    json.require(JsonToken.START_OBJECT, "model", "TK-VOCAB");
    while (json.next() == JsonToken.FIELD_NAME) {
      boolean vocabulary = json.text().equals("vocab");
      json.next();
      if (vocabulary && json.is(JsonToken.START_ARRAY)) {
        scores();
        found = true;
      } else if (vocabulary) {
        ids();
        found = true;
      } else {
        json.skip();
      }
    }
    if (!found) {
      throw json.malformed("TK-VOCAB", "the tokenizer's model has no vocab");
    }
  }

  /** An object from token to id. */
  private void ids() throws IOException {
    json.require(JsonToken.START_OBJECT, "the vocabulary", "TK-VOCAB");
    while (json.next() == JsonToken.FIELD_NAME) {
      String token = json.text();
      json.next();
      add(json.row(token), token);
    }
  }

  /** An array of token and score, in the order of the ids. */
  private void scores() throws IOException {
    for (int row = 0; json.next() != JsonToken.END_ARRAY; row++) {
      json.require(JsonToken.START_ARRAY, "entry " + row + " of the vocabulary", "TK-VOCAB");
      json.next();
      json.require(JsonToken.VALUE_STRING, "the token of entry " + row + " of the vocabulary", "TK-VOCAB");
      add(row, json.text());
      while (json.next() != JsonToken.END_ARRAY) {
        json.skip();
      }
    }
  }

  private void add(int row, String token) throws IOException {
    try {
      builder.add(row, token);
    } catch (IllegalArgumentException e) {
      throw json.malformed("TK-TEXT", e.getMessage());
    }
  }

  private List<Added> added() throws IOException {
    List<Added> added = new ArrayList<>();
    json.require(JsonToken.START_ARRAY, "added_tokens", "TK-ADDED");
    while (json.next() != JsonToken.END_ARRAY) {
      added.add(addedToken(added.size()));
    }
    return added;
  }

  private Added addedToken(int number) throws IOException {
    String what = "entry " + number + " of added_tokens";
    int row = -1;
    String content = null;
    boolean special = false;
    boolean normalized = false;
    boolean lstrip = false;
    boolean rstrip = false;
    boolean singleWord = false;
    json.require(JsonToken.START_OBJECT, what, "TK-ADDED");
    while (json.next() == JsonToken.FIELD_NAME) {
      String name = json.text();
      json.next();
      switch (name) {
        case "id" -> row = json.row(what);
        case "content" -> {
          json.require(JsonToken.VALUE_STRING, "the content of " + what, "TK-ADDED");
          content = json.text();
        }
        case "special" -> special = flag(what);
        case "normalized" -> normalized = flag(what);
        case "lstrip" -> lstrip = flag(what);
        case "rstrip" -> rstrip = flag(what);
        case "single_word" -> singleWord = flag(what);
        default -> json.skip();
      }
    }
    if (row < 0 || content == null) {
      throw json.malformed("TK-ADDED", what + " must have an id and a content");
    }
    // Checks the text where it is read.
    add(row, content);
    return new Added(row, new AddedToken(content, special, normalized, lstrip, rstrip, singleWord));
  }

  private boolean flag(String what) throws IOException {
    if (!json.is(JsonToken.VALUE_TRUE) && !json.is(JsonToken.VALUE_FALSE)) {
      throw json.malformed("TK-ADDED", what + " must have true or false where its properties are");
    }
    return json.is(JsonToken.VALUE_TRUE);
  }
}
