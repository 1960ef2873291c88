package io.portllm.io.internal.tokenizer;

import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.AddedToken;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.SideFile;
import io.portllm.Vocabulary;
import io.portllm.internal.patch.GrownModel;
import io.portllm.io.internal.tokenizer.SplicedFile.Edit;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Adds tokens to the side files of a model: to {@code added_tokens} of {@code tokenizer.json}, to {@code added_tokens_decoder} of
 * {@code tokenizer_config.json} and to {@code added_tokens.json} where these are, and the new number of rows to {@code config.json}. Every
 * other byte stays.
 */
public final class GrownFiles {
  private static final String CONFIG = "config.json";
  private static final String TOKENIZER_CONFIG = "tokenizer_config.json";
  private static final String ADDED_TOKENS = "added_tokens.json";
  private static final List<String> SIZES = List.of("vocab_size", "text_config.vocab_size");

  private final ModelVersion model;
  private final Path folder;
  private final ObjectMapper mapper = new ObjectMapper();
  private final Map<Integer, AddedToken> missing;
  private final List<SideFile> files;
  private final Map<String, String> config;

  private GrownFiles(ModelVersion model, Path folder, Map<Integer, AddedToken> missing) {
    this.model = model;
    this.folder = folder;
    this.missing = missing;
    this.files = new ArrayList<>(model.sideFiles());
    this.config = new HashMap<>(model.config());
  }

  /**
   * {@code model} with room for {@code tokens}.
   *
   * @param folder where the model lies, for messages
   * @throws IncompatibleModelException if its tokenizer or configuration cannot be given more tokens
   */
  public static GrownModel of(ModelVersion model, Path folder, List<AddedToken> tokens) throws IOException {
    Vocabulary grown = GrownModel.vocabulary(model, tokens);
    Vocabulary old = model.vocabulary();
    Map<Integer, AddedToken> missing = new TreeMap<>(grown.added());
    missing.keySet().removeIf(row -> old.row(grown.token(row).orElseThrow()).isPresent());
    GrownFiles growing = new GrownFiles(model, folder, missing);
    if (!missing.isEmpty()) {
      growing.grow(grown, old);
    }
    return GrownModel.of(model, grown, tokens, growing.files, growing.config);
  }

  private void grow(Vocabulary grown, Vocabulary old) throws IOException {
    long rows = GrownModel.rows(model);
    if (old.end() > rows) {
      throw GrownModel.refusal(model, "has " + rows + " rows, but the tokenizer has tokens up to id " + (old.end() - 1));
    }
    growTokenizer(old.end());
    growMember(TOKENIZER_CONFIG, "added_tokens_decoder", true);
    growMember(ADDED_TOKENS, null, false);
    if (grown.end() > rows) {
      growConfig(rows, grown.end());
    }
  }

  private void replace(SideFile file, List<Edit> edits) {
    files.replaceAll(other -> other.name().equals(file.name()) ? new SplicedFile(file, edits) : other);
  }

  /** Tokenizers number added tokens themselves, whatever the file says: only ids that they arrive at too are given. */
  private void growTokenizer(int end) throws IOException {
    SideFile file =
        TokenizerFiles.named(files, TokenizerFiles.TOKENIZER)
            .orElseThrow(() -> GrownModel.refusal(model, "there is no tokenizer.json that tokens could be added to"));
    long place = -1;
    boolean empty = true;
    int next = 0;
    try (JsonSource json = JsonSource.open(folder, file)) {
      json.next();
      while (json.next() == JsonToken.FIELD_NAME) {
        String name = json.text();
        json.next();
        if (name.equals("added_tokens") && json.is(JsonToken.START_ARRAY)) {
          while (json.next() != JsonToken.END_ARRAY) {
            empty = false;
            next = Math.max(next, idOf(json) + 1);
          }
          place = json.offset();
        } else if (name.equals("model") && json.is(JsonToken.START_OBJECT)) {
          next = Math.max(next, size(json));
        } else {
          json.skip();
        }
      }
    }
    if (place < 0) {
      throw GrownModel.refusal(model, "tokenizer.json has no list of added tokens");
    }
    if (next != end) {
      throw GrownModel.refusal(
          model, "the next token of tokenizer.json would get id " + next + ", but the last one has id " + (end - 1) + ": its ids have holes");
    }
    StringBuilder text = new StringBuilder();
    for (Map.Entry<Integer, AddedToken> entry : missing.entrySet()) {
      ObjectNode node = mapper.createObjectNode().put("id", entry.getKey()).put("content", entry.getValue().content());
      text.append(empty && text.length() == 0 ? "" : ", ").append(mapper.writeValueAsString(properties(node, entry.getValue())));
    }
    replace(file, List.of(new Edit(place, place, text.toString())));
  }

  private static ObjectNode properties(ObjectNode node, AddedToken token) {
    return node.put("single_word", token.singleWord())
        .put("lstrip", token.lstrip())
        .put("rstrip", token.rstrip())
        .put("normalized", token.normalized())
        .put("special", token.special());
  }

  private static int idOf(JsonSource json) throws IOException {
    int id = -1;
    while (json.next() == JsonToken.FIELD_NAME) {
      boolean found = json.text().equals("id");
      json.next();
      if (found) {
        id = json.row("id");
      } else {
        json.skip();
      }
    }
    return id;
  }

  /** How many tokens the model that the tokenizer was trained with has. */
  private static int size(JsonSource json) throws IOException {
    int size = 0;
    while (json.next() == JsonToken.FIELD_NAME) {
      boolean found = json.text().equals("vocab");
      json.next();
      if (found && json.is(JsonToken.START_OBJECT)) {
        for (; json.next() == JsonToken.FIELD_NAME; size++) {
          json.next();
        }
      } else if (found && json.is(JsonToken.START_ARRAY)) {
        for (; json.next() != JsonToken.END_ARRAY; size++) {
          json.skip();
        }
      } else {
        json.skip();
      }
    }
    return size;
  }

  /**
   * Adds the tokens to an object of a file, if there are such.
   *
   * @param member the object's name; null if the file is the object
   * @param byId whether it is from id to properties, or from token to id
   */
  private void growMember(String name, String member, boolean byId) throws IOException {
    Optional<SideFile> file = TokenizerFiles.named(files, name);
    if (file.isEmpty()) {
      return;
    }
    long place = -1;
    boolean empty = true;
    try (JsonSource json = JsonSource.open(folder, file.get())) {
      json.next();
      json.require(JsonToken.START_OBJECT, "the file", "TK-JSON");
      while (json.next() == JsonToken.FIELD_NAME) {
        boolean found = json.text().equals(member);
        empty &= member != null;
        json.next();
        if (found && json.is(JsonToken.START_OBJECT)) {
          while (json.next() == JsonToken.FIELD_NAME) {
            empty = false;
            json.next();
            json.skip();
          }
          place = json.offset();
        } else {
          json.skip();
        }
      }
      place = member == null ? json.offset() : place;
    }
    if (place < 0) {
      return;
    }
    StringBuilder text = new StringBuilder();
    for (Map.Entry<Integer, AddedToken> entry : missing.entrySet()) {
      String key = byId ? entry.getKey().toString() : entry.getValue().content();
      ObjectNode properties = mapper.createObjectNode().put("content", entry.getValue().content());
      String value = byId ? mapper.writeValueAsString(properties(properties, entry.getValue())) : entry.getKey().toString();
      text.append(empty && text.length() == 0 ? "" : ", ").append(mapper.writeValueAsString(key)).append(": ").append(value);
    }
    replace(file.get(), List.of(new Edit(place, place, text.toString())));
  }

  private void growConfig(long rows, int grown) throws IOException {
    List<Edit> edits = new ArrayList<>();
    Optional<SideFile> file = TokenizerFiles.named(files, CONFIG);
    if (file.isPresent()) {
      try (JsonSource json = JsonSource.open(folder, file.get())) {
        json.next();
        json.require(JsonToken.START_OBJECT, "the configuration", "CF-JSON");
        growSizes(json, "", rows, grown, edits);
      }
    }
    if (edits.isEmpty()) {
      throw GrownModel.refusal(model, "config.json states no vocab_size that could be raised to " + grown);
    }
    replace(file.get(), edits);
    SIZES.forEach(size -> config.computeIfPresent(size, (key, value) -> Integer.toString(grown)));
  }

  private void growSizes(JsonSource json, String prefix, long rows, int grown, List<Edit> edits) throws IOException {
    while (json.next() == JsonToken.FIELD_NAME) {
      String path = prefix + json.text();
      json.next();
      if (SIZES.contains(path)) {
        if (!json.is(JsonToken.VALUE_NUMBER_INT) || !json.text().equals(Long.toString(rows))) {
          throw GrownModel.refusal(model, "has " + rows + " rows, but config.json states another " + path);
        }
        long offset = json.offset();
        edits.add(new Edit(offset, offset + json.text().length(), Integer.toString(grown)));
      } else if (path.equals("text_config") && json.is(JsonToken.START_OBJECT)) {
        growSizes(json, "text_config.", rows, grown, edits);
      } else {
        json.skip();
      }
    }
  }
}
