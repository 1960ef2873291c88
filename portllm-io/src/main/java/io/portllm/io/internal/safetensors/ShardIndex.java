package io.portllm.io.internal.safetensors;

import com.fasterxml.jackson.core.JsonToken;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import io.portllm.io.internal.files.WeightFiles;
import io.portllm.io.internal.json.JsonException;
import io.portllm.io.internal.json.StrictJson;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The index of a sharded model: {@code {"metadata": {...}, "weight_map": {tensor: file}}}.
 *
 * <p>File names are checked as text only, and before any of them is used: they come from whoever made the model and could name
 * any file of the machine.
 *
 * @param metadata what the index says besides, such as {@code total_size}; numbers as BigInteger or BigDecimal
 * @param weightMap for each tensor the file that holds it, within the model folder
 */
public record ShardIndex(Map<String, Object> metadata, Map<String, String> weightMap) {
  /** The name of the index in a model folder. */
  public static final String FILE_NAME = "model.safetensors.index.json";

  /** The longest index: 100,000,000 bytes, as for headers. */
  private static final int LONGEST = SafetensorsHeader.LONGEST;

  private static final int LONGEST_NAME = 255;

  public ShardIndex {
    metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
    weightMap = Collections.unmodifiableMap(new LinkedHashMap<>(weightMap));
  }

  /**
   * Reads and checks an index.
   *
   * @throws MalformedModelException if the file is no index, or names a file that no model can have
   * @throws IOException if reading failed
   */
  public static ShardIndex read(SourceFile file) throws IOException {
    if (file.size() > LONGEST) {
      throw new MalformedModelException(
          file.path(), "IX-JSON", -1, "an index must be at most " + LONGEST + " bytes but has " + file.size());
    }
    byte[] text = new byte[(int) file.size()];
    file.readFully(0, ByteBuffer.wrap(text));
    try (StrictJson json = StrictJson.of(text)) {
      return new Parser(file.path(), json).parse();
    } catch (JsonException e) {
      String rule = e.kind() == JsonException.Kind.DUPLICATE ? "IX-DUP" : "IX-JSON";
      throw new MalformedModelException(file.path(), rule, e.offset(), "the index is " + e.getMessage());
    }
  }

  /** Parses one index. */
  private record Parser(Path file, StrictJson json) {
    ShardIndex parse() throws JsonException, MalformedModelException {
      if (json.next() != JsonToken.START_OBJECT) {
        if (json.is(null)) {
          throw malformed("IX-JSON", "expected a JSON object, found nothing");
        }
        String found = json.found();
        json.skip();
        throw malformed("IX-ROOT", "expected a JSON object, found " + found);
      }
      Map<String, Object> metadata = Map.of();
      Map<String, String> weightMap = Map.of();
      while (json.next() == JsonToken.FIELD_NAME) {
        String field = json.text();
        json.next();
        switch (field) {
          case "metadata" -> metadata = parseMetadata();
          case "weight_map" -> weightMap = parseWeightMap();
          default -> json.skip();
        }
      }
      json.end();
      if (weightMap.isEmpty()) {
        throw new MalformedModelException(file, "IX-MAP", -1, "expected a weight_map with a file for each tensor, found none");
      }
      return new ShardIndex(metadata, weightMap);
    }

    private Map<String, Object> parseMetadata() throws JsonException, MalformedModelException {
      if (json.is(JsonToken.VALUE_NULL)) {
        return Map.of();
      }
      require(JsonToken.START_OBJECT, "IX-META", "metadata: expected an object");
      Map<String, Object> metadata = new LinkedHashMap<>();
      while (json.next() == JsonToken.FIELD_NAME) {
        String key = json.text();
        json.next();
        metadata.put(key, json.value());
      }
      return metadata;
    }

    private Map<String, String> parseWeightMap() throws JsonException, MalformedModelException {
      require(JsonToken.START_OBJECT, "IX-MAP", "weight_map: expected an object");
      Map<String, String> weightMap = new LinkedHashMap<>();
      while (json.next() == JsonToken.FIELD_NAME) {
        String tensor = json.text();
        json.next();
        require(JsonToken.VALUE_STRING, "IX-VALUE", "tensor " + Names.quote(tensor) + ": expected a file name");
        String name = json.text();
        if (name.isEmpty()) {
          throw malformed("IX-VALUE", "tensor " + Names.quote(tensor) + ": expected a file name, found an empty one");
        }
        String problem = problem(name);
        if (problem != null) {
          throw malformed("IX-PATH", "tensor " + Names.quote(tensor) + ": the file name " + Names.quote(name) + " " + problem);
        }
        weightMap.put(tensor, name);
      }
      return weightMap;
    }

    private void require(JsonToken token, String rule, String expected) throws JsonException, MalformedModelException {
      if (!json.is(token)) {
        MalformedModelException refusal = malformed(rule, expected + ", found " + json.found());
        json.skip();
        throw refusal;
      }
    }

    private MalformedModelException malformed(String rule, String message) {
      return new MalformedModelException(file, rule, json.offset(), message);
    }
  }

  /** Why a file name is refused, or null if it is not: the strictest reading that published models pass. */
  private static String problem(String name) {
    if (name.chars().anyMatch(c -> c == '\\' || c == ':' || Character.isISOControl(c))) {
      return "has a backslash, colon or control character";
    }
    if (name.startsWith("~")) {
      return "begins with a tilde";
    }
    for (String part : name.split("/", -1)) {
      if (part.isEmpty() || part.equals(".") || part.equals("..")) {
        return "is not a plain path within the model folder";
      }
      if (part.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) {
        return "has a part of more than " + LONGEST_NAME + " bytes";
      }
    }
    if (!name.endsWith(".safetensors")) {
      return WeightFiles.isPickle(name) ? "is of a format (pickle) that is not read" : "does not end in .safetensors";
    }
    return null;
  }
}
