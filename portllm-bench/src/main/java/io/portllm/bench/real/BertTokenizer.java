package io.portllm.bench.real;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The tokenizer of uncased BERT models, read from {@code tokenizer.json}: text is cleaned, lower-cased and stripped of accents, split
 * at white space and around punctuation, and each word cut into the longest pieces that the vocabulary has (WordPiece).
 *
 * <p>Special tokens written out in a text, such as {@code [MASK]}, are taken as text. Immutable, safe for use by many threads.
 */
final class BertTokenizer {
  private final Map<String, Integer> vocabulary;
  private final String continuation;
  private final int longestWord;
  private final int unknown;
  private final int first;
  private final int last;

  private BertTokenizer(Map<String, Integer> vocabulary, String continuation, int longestWord, String unknown) throws IOException {
    this.vocabulary = vocabulary;
    this.continuation = continuation;
    this.longestWord = longestWord;
    this.unknown = special(unknown);
    this.first = special("[CLS]");
    this.last = special("[SEP]");
  }

  /**
   * Reads {@code tokenizer.json}.
   *
   * @param json its bytes; left open
   * @throws IOException if reading failed, or the file describes another kind of tokenizer
   */
  static BertTokenizer read(InputStream json) throws IOException {
    JsonNode root = new ObjectMapper().readTree(json);
    require(root, "/normalizer/type", "BertNormalizer");
    require(root, "/normalizer/clean_text", "true");
    require(root, "/normalizer/handle_chinese_chars", "true");
    require(root, "/normalizer/strip_accents", "null");
    require(root, "/normalizer/lowercase", "true");
    require(root, "/pre_tokenizer/type", "BertPreTokenizer");
    require(root, "/model/type", "WordPiece");
    JsonNode model = root.get("model");
    Map<String, Integer> vocabulary = new HashMap<>();
    model.path("vocab").properties().forEach(entry -> vocabulary.put(entry.getKey(), entry.getValue().intValue()));
    return new BertTokenizer(
        vocabulary,
        model.path("continuing_subword_prefix").textValue(),
        model.path("max_input_chars_per_word").intValue(),
        model.path("unk_token").textValue());
  }

  private static void require(JsonNode root, String pointer, String expected) throws IOException {
    String found = root.at(pointer).asText();
    if (!found.equals(expected)) {
      throw new IOException("tokenizer.json: " + pointer + " must be " + expected + " but was " + found);
    }
  }

  private int special(String token) throws IOException {
    Integer id = vocabulary.get(token);
    if (id == null) {
      throw new IOException("tokenizer.json: the vocabulary has no " + token);
    }
    return id;
  }

  /**
   * The ids of a text's tokens between {@code [CLS]} and {@code [SEP]}.
   *
   * @param limit the most ids to give, those two included; tokens past it are cut
   */
  int[] encode(String text, int limit) {
    List<Integer> ids = new ArrayList<>();
    ids.add(first);
    for (String word : words(normalize(text))) {
      cut(word, ids);
    }
    int kept = Math.min(ids.size(), limit - 1);
    int[] encoded = Arrays.copyOf(ids.stream().mapToInt(Integer::intValue).toArray(), kept + 1);
    encoded[kept] = last;
    return encoded;
  }

  private static String normalize(String text) {
    StringBuilder cleaned = new StringBuilder(text.length());
    text.codePoints().forEach(c -> {
      if (isWhitespace(c)) {
        cleaned.append(' ');
      } else if (isIdeograph(c)) {
        cleaned.append(' ').appendCodePoint(c).append(' ');
      } else if (!isControl(c)) {
        cleaned.appendCodePoint(c);
      }
    });
    StringBuilder normalized = new StringBuilder(cleaned.length());
    Normalizer.normalize(cleaned, Normalizer.Form.NFD).codePoints().forEach(c -> {
      if (Character.getType(c) != Character.NON_SPACING_MARK) {
        // Each character by itself: a capital sigma at the end of a word becomes the same letter as anywhere else.
        normalized.append(Character.toString(c).toLowerCase(Locale.ROOT));
      }
    });
    return normalized.toString();
  }

  private static boolean isWhitespace(int c) {
    return c == '\t' || c == '\n' || c == '\r' || Character.isSpaceChar(c);
  }

  private static boolean isControl(int c) {
    return c == 0xfffd
        || switch (Character.getType(c)) {
          case Character.CONTROL, Character.FORMAT, Character.PRIVATE_USE, Character.SURROGATE -> true;
          default -> false;
        };
  }

  /** Chinese characters, which are words of their own, by the blocks that BERT's tokenizer lists. */
  private static boolean isIdeograph(int c) {
    return c >= 0x4e00 && c <= 0x9fff
        || c >= 0x3400 && c <= 0x4dbf
        || c >= 0x20000 && c <= 0x2a6df
        || c >= 0x2a700 && c <= 0x2b73f
        || c >= 0x2b740 && c <= 0x2b81f
        || c >= 0x2b920 && c <= 0x2ceaf
        || c >= 0xf900 && c <= 0xfaff
        || c >= 0x2f800 && c <= 0x2fa1f;
  }

  private static boolean isPunctuation(int c) {
    if (c < 128) {
      return c > ' ' && c < 127 && !Character.isLetterOrDigit(c);
    }
    return switch (Character.getType(c)) {
      case Character.CONNECTOR_PUNCTUATION,
          Character.DASH_PUNCTUATION,
          Character.START_PUNCTUATION,
          Character.END_PUNCTUATION,
          Character.INITIAL_QUOTE_PUNCTUATION,
          Character.FINAL_QUOTE_PUNCTUATION,
          Character.OTHER_PUNCTUATION ->
          true;
      default -> false;
    };
  }

  private static List<String> words(String normalized) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    normalized.codePoints().forEach(c -> {
      boolean punctuation = isPunctuation(c);
      if (punctuation || isWhitespace(c)) {
        flush(word, words);
      }
      if (punctuation) {
        words.add(Character.toString(c));
      } else if (!isWhitespace(c)) {
        word.appendCodePoint(c);
      }
    });
    flush(word, words);
    return words;
  }

  private static void flush(StringBuilder word, List<String> words) {
    if (!word.isEmpty()) {
      words.add(word.toString());
      word.setLength(0);
    }
  }

  private void cut(String word, List<Integer> ids) {
    List<Integer> pieces = new ArrayList<>();
    int start = word.codePointCount(0, word.length()) > longestWord ? -1 : 0;
    while (start >= 0 && start < word.length()) {
      int end = word.length();
      Integer id = null;
      while (end > start && (id = vocabulary.get((start > 0 ? continuation : "") + word.substring(start, end))) == null) {
        end = word.offsetByCodePoints(end, -1);
      }
      if (id != null) {
        pieces.add(id);
      }
      start = id == null ? -1 : end;
    }
    if (start < 0) {
      ids.add(unknown);
    } else {
      ids.addAll(pieces);
    }
  }
}
