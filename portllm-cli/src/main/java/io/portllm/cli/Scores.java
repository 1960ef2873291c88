package io.portllm.cli;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.portllm.internal.text.Names;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Scores of items as a scoring command prints them, in UTF-8: a line for each item, which is a number from 0 to 1 or a JSON object with
 * such a {@code score} and, if the items have names, an {@code id}. Other fields of the object are ignored. Blank lines are not allowed.
 *
 * @param values the scores
 * @param ids the items' names in the same order; empty if they have none
 */
record Scores(List<Double> values, List<String> ids) {
  /** Texts that go with an item belong elsewhere: what is read line by line must not fill the memory. */
  private static final int LONGEST_LINE = 1 << 16;

  private static final int MOST_ITEMS = 10_000_000;

  private static final Pattern NUMBER = Pattern.compile("[+-]?(\\d+(\\.\\d*)?|\\.\\d+)([eE][+-]?\\d{1,4})?");

  private static final JsonMapper JSON = JsonMapper.builder()
      .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
      .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
      .build();

  Scores {
    values = List.copyOf(values);
    ids = List.copyOf(ids);
  }

  /**
   * Reads all of {@code in}.
   *
   * @param name what messages begin with
   * @throws IOException naming the first line that is no score, and why
   */
  static Scores read(InputStream in, String name) throws IOException {
    Reading reading = new Reading(name);
    // A decoder of its own, which refuses bytes that are no UTF-8 where a reader made of a charset would replace them.
    try (BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder()))) {
      for (String line = reading.next(lines); line != null; line = reading.next(lines)) {
        reading.add(line);
      }
    } catch (CharacterCodingException e) {
      throw reading.refusal("must be UTF-8", "SC-LINE");
    }
    return new Scores(reading.values, reading.ids);
  }

  /**
   * Requires that these are scores of the items of {@code first}.
   *
   * @param name what messages begin with
   * @param where what {@code first} is the output of
   */
  void requireSameItems(Scores first, String name, String where) throws IOException {
    if (values.size() != first.values.size()) {
      throw new IOException(
          name + ": must give " + first.values.size() + " scores, as many as " + where + ", but gave " + values.size() + " (SC-COUNT)");
    }
    if (ids.isEmpty() != first.ids.isEmpty()) {
      throw new IOException(name + ": " + (ids.isEmpty() ? "gives no ids" : "gives ids") + ", unlike " + where + " (SC-ID)");
    }
    for (int i = 0; i < ids.size(); i++) {
      if (!ids.get(i).equals(first.ids.get(i))) {
        throw new IOException(name + ": line " + (i + 1) + " must be of item " + Names.quote(first.ids.get(i)) + ", as for " + where
            + ", but is of " + Names.quote(ids.get(i)) + " (SC-ID)");
      }
    }
  }

  double[] toArray() {
    return values.stream().mapToDouble(Double::doubleValue).toArray();
  }

  /** The lines so far. */
  private static final class Reading {
    private final String name;
    private final List<Double> values = new ArrayList<>();
    private final List<String> ids = new ArrayList<>();
    private final Set<String> known = new HashSet<>();

    Reading(String name) {
      this.name = name;
    }

    /** The next line, or null at the end. */
    String next(BufferedReader lines) throws IOException {
      StringBuilder line = new StringBuilder();
      int c = lines.read();
      if (c < 0) {
        return null;
      }
      for (; c >= 0 && c != '\n'; c = lines.read()) {
        if (line.length() == LONGEST_LINE) {
          throw refusal("must not be longer than " + LONGEST_LINE + " characters", "SC-LINE");
        }
        line.append((char) c);
      }
      return line.toString().strip();
    }

    void add(String line) throws IOException {
      if (values.size() == MOST_ITEMS) {
        throw refusal("must be the last: at most " + MOST_ITEMS + " items are scored", "SC-COUNT");
      }
      boolean isObject = line.startsWith("{");
      String id = null;
      double value;
      if (isObject) {
        JsonNode object = object(line);
        value = score(object.get("score"), line);
        id = id(object.get("id"));
      } else if (NUMBER.matcher(line).matches()) {
        value = Double.parseDouble(line);
      } else {
        throw refusal("must be a number from 0 to 1, or a JSON object with such a score, but is " + Names.quote(line), "SC-LINE");
      }
      if (!(value >= 0 && value <= 1)) {
        throw refusal("must be from 0 to 1 but is " + Names.quote(line), "SC-RANGE");
      }
      identify(id);
      values.add(value);
    }

    private JsonNode object(String line) throws IOException {
      try {
        return JSON.readTree(line);
      } catch (JsonProcessingException e) {
        throw refusal("begins as a JSON object but is none: " + Names.quote(line), "SC-LINE");
      }
    }

    private double score(JsonNode score, String line) throws IOException {
      if (score == null || !score.isNumber() && !score.isBoolean()) {
        throw refusal("must have a score that is a number, true or false: " + Names.quote(line), "SC-LINE");
      }
      return score.isBoolean() ? (score.booleanValue() ? 1 : 0) : score.doubleValue();
    }

    private String id(JsonNode id) throws IOException {
      if (id == null) {
        return null;
      }
      if (!id.isTextual() && !id.isIntegralNumber()) {
        throw refusal("has an id that is neither a text nor a whole number", "SC-ID");
      }
      return id.asText();
    }

    private void identify(String id) throws IOException {
      if (id == null ? !ids.isEmpty() : ids.size() != values.size()) {
        throw refusal("must have an id if others have one", "SC-ID");
      }
      if (id != null) {
        if (!known.add(id)) {
          throw refusal("has the id " + Names.quote(id) + " of an earlier line", "SC-ID");
        }
        ids.add(id);
      }
    }

    IOException refusal(String what, String rule) {
      return new IOException(name + ": line " + (values.size() + 1) + " " + what + " (" + rule + ")");
    }
  }
}
