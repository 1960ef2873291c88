package io.portllm.cli.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.SideFile;
import io.portllm.internal.text.Names;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * A tokenizer of single bytes: a {@code tokenizer.json} of Hugging Face with the byte-level alphabet and no merges.
 *
 * <p>Immutable and safe for use by many threads.
 */
public final class ByteLevelTokenizer {
  private final String name;
  /** Ids that come before every text. */
  private final List<Integer> prefix;
  /** Texts of tokens that stand for no bytes. */
  private final Set<String> special;
  /** The id of each byte. */
  private final int[] ids;

  private ByteLevelTokenizer(String name, List<Integer> prefix, Set<String> special, int[] ids) {
    this.name = name;
    this.prefix = prefix;
    this.special = special;
    this.ids = ids;
  }

  /**
   * Reads the tokenizer of {@code model}.
   *
   * @throws IllegalArgumentException if there is none, or one that is not of single bytes
   * @throws IOException if reading failed
   */
  public static ByteLevelTokenizer of(ModelVersion model) throws IOException {
    for (SideFile file : model.sideFiles()) {
      if (file.name().equals("tokenizer.json")) {
        try (InputStream in = file.open()) {
          return parse(model.name(), new ObjectMapper().readTree(in));
        }
      }
    }
    throw new IllegalArgumentException("[" + model.name() + "] tokenizer.json must be there but is not");
  }

  static ByteLevelTokenizer parse(String name, JsonNode json) {
    JsonNode model = json.path("model");
    demand(name, "model.type", "BPE", model.path("type"));
    demand(name, "model.merges", "[]", model.path("merges"));
    demand(name, "normalizer", "null", json.path("normalizer"));
    demand(name, "pre_tokenizer.type", "ByteLevel", json.at("/pre_tokenizer/type"));
    demand(name, "pre_tokenizer.add_prefix_space", "false", json.at("/pre_tokenizer/add_prefix_space"));
    demand(name, "decoder.type", "ByteLevel", json.at("/decoder/type"));

    int[] ids = new int[256];
    for (int value = 0; value < 256; value++) {
      String token = Character.toString(alphabet(value));
      JsonNode id = model.path("vocab").path(token);
      if (!id.isInt()) {
        throw refusal(name, "model.vocab " + Names.quote(token), "an id", show(id));
      }
      ids[value] = id.intValue();
    }
    Set<String> special = new HashSet<>();
    json.path("added_tokens").forEach(token -> special.add(token.path("content").asText()));
    return new ByteLevelTokenizer(name, prefix(name, json.path("post_processor")), Set.copyOf(special), ids);
  }

  /** The ids of a template of the form: special tokens, then the text. */
  private static List<Integer> prefix(String name, JsonNode processor) {
    demand(name, "post_processor.type", "TemplateProcessing", processor.path("type"));
    List<Integer> prefix = new ArrayList<>();
    JsonNode template = processor.path("single");
    for (int i = 0; i < template.size() - 1; i++) {
      String token = template.get(i).at("/SpecialToken/id").asText();
      JsonNode ids = processor.path("special_tokens").path(token).path("ids");
      if (ids.isEmpty()) {
        throw refusal(name, "post_processor.single", "special tokens and then the text", show(template));
      }
      ids.forEach(id -> prefix.add(id.intValue()));
    }
    demand(name, "post_processor.single's last part", "A", template.path(template.size() - 1).at("/Sequence/id"));
    return List.copyOf(prefix);
  }

  /**
   * The ids of a text, after the ids that begin every text.
   *
   * @throws IllegalArgumentException if the text contains a special token such as {@code <s>}
   */
  public int[] encode(String text) {
    for (String token : special) {
      if (text.contains(token)) {
        throw new IllegalArgumentException("[" + name + "] text must not contain the special token " + Names.quote(token));
      }
    }
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    IntStream bytes = IntStream.range(0, utf8.length).map(i -> ids[utf8[i] & 0xff]);
    return IntStream.concat(prefix.stream().mapToInt(Integer::intValue), bytes).toArray();
  }

  /** The text of ids. Ids that stand for no byte give nothing; bytes that are no UTF-8 give U+FFFD. */
  public String decode(int... tokens) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int token : tokens) {
      int value = indexOf(token);
      if (value >= 0) {
        bytes.write(value);
      }
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private int indexOf(int token) {
    return IntStream.range(0, ids.length).filter(value -> ids[value] == token).findFirst().orElse(-1);
  }

  /**
   * The character that byte-level vocabularies write for a byte: the same number in Latin-1 where that is printable, otherwise the
   * next unused one from 256 on.
   */
  private static int alphabet(int value) {
    if (isPrintable(value)) {
      return value;
    }
    return 256 + (int) IntStream.range(0, value).filter(other -> !isPrintable(other)).count();
  }

  private static boolean isPrintable(int value) {
    return value >= '!' && value <= '~' || value >= 0xa1 && value <= 0xff && value != 0xad;
  }

  private static void demand(String name, String what, String wanted, JsonNode found) {
    if (!show(found).equals(wanted)) {
      throw refusal(name, what, wanted, show(found));
    }
  }

  private static String show(JsonNode node) {
    return node.isMissingNode() ? "missing" : node.isValueNode() ? node.asText() : node.toString();
  }

  private static IllegalArgumentException refusal(String name, String what, String wanted, String found) {
    return new IllegalArgumentException(
        "[" + name + "] tokenizer.json " + what + " must be " + wanted + " but was " + Names.quote(found));
  }
}
