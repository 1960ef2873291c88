package io.portllm.io.internal.json;

import com.fasterxml.jackson.core.JsonToken;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;

/** A JSON object as a flat map: {@code {"a": {"b": [1.0, null]}}} is {@code a.b.0 = 1.0}, {@code a.b.1 = null}. */
public final class FlatJson {
  /**
   * The most characters of all paths and values together: 32 Mi. Without a limit, many values under one long key would take
   * memory in proportion to the square of the text.
   */
  private static final int MOST_CHARACTERS = 32 << 20;

  private final StrictJson json;
  private final Map<String, String> flat = new TreeMap<>();
  private long characters;

  private FlatJson(StrictJson json) {
    this.json = json;
  }

  /**
   * Reads an object. Numbers keep the characters they are written with; {@code NaN} and {@code Infinity}, which Python writes,
   * are numbers. Empty objects and arrays leave nothing.
   *
   * @return the values by path, sorted
   * @throws JsonException if the text is no JSON object, two values have one path, or the map would be too large
   */
  public static Map<String, String> read(byte[] text) throws JsonException {
    try (StrictJson json = StrictJson.withNonFiniteNumbers(text)) {
      if (json.next() != JsonToken.START_OBJECT) {
        throw new JsonException(JsonException.Kind.SYNTAX, 0, "not a JSON object: it is " + json.found());
      }
      FlatJson reader = new FlatJson(json);
      reader.readValue("");
      json.end();
      return Collections.unmodifiableMap(reader.flat);
    }
  }

  private void readValue(String path) throws JsonException {
    if (json.is(JsonToken.START_OBJECT)) {
      while (json.next() == JsonToken.FIELD_NAME) {
        String name = json.text();
        json.next();
        readValue(path.isEmpty() ? name : path + "." + name);
      }
    } else if (json.is(JsonToken.START_ARRAY)) {
      for (int i = 0; json.next() != JsonToken.END_ARRAY; i++) {
        readValue(path + "." + i);
      }
    } else {
      String value = json.text();
      characters += path.length() + value.length();
      if (characters > MOST_CHARACTERS) {
        throw new JsonException(JsonException.Kind.SYNTAX, json.offset(), "more than " + MOST_CHARACTERS + " characters of values");
      }
      if (flat.put(path, value) != null) {
        throw new JsonException(JsonException.Kind.DUPLICATE, json.offset(), "ambiguous: two values have the path of this one");
      }
    }
  }
}
