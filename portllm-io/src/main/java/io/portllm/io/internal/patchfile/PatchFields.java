package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;

/** What the metadata of a patch file say, each value checked where it is read. */
final class PatchFields {
  private final Path file;
  private final Map<String, String> metadata;

  PatchFields(Path file, Map<String, String> metadata) {
    this.file = file;
    this.metadata = metadata;
  }

  Path file() {
    return file;
  }

  Map<String, String> metadata() {
    return metadata;
  }

  Shape shape(String tensor, JsonNode node) throws IOException {
    if (node == null || !node.isArray()) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has no shape");
    }
    long[] dimensions = new long[node.size()];
    for (int i = 0; i < dimensions.length; i++) {
      if (!node.get(i).isIntegralNumber() || !node.get(i).canConvertToLong()) {
        throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has a dimension " + Names.quote(node.get(i).toString()));
      }
      dimensions[i] = node.get(i).longValue();
    }
    try {
      return Shape.of(dimensions);
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + ": " + e.getMessage());
    }
  }

  double number(String tensor, JsonNode term, String field) throws IOException {
    JsonNode value = term.get(field);
    if (value == null || !value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs a finite number as " + field);
    }
    return value.doubleValue();
  }

  long whole(String tensor, JsonNode term, String field) throws IOException {
    JsonNode value = term.get(field);
    if (value == null || !value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs a whole number of 0 or more as " + field);
    }
    return value.longValue();
  }

  boolean transposed(String tensor, JsonNode term) throws IOException {
    JsonNode transposed = term.get("transposed");
    if (transposed == null || !transposed.isBoolean()) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs true or false as transposed");
    }
    return transposed.booleanValue();
  }

  String digest(String text) throws IOException {
    if (!text.matches("[0-9a-f]{64}")) {
      throw malformed("PF-BASE", "a digest must be 64 lower-case hexadecimal digits but is " + Names.quote(text));
    }
    return text;
  }

  TensorInfo info(String rule, String tensor, DType type, JsonNode shape) throws IOException {
    Shape dimensions = shape(tensor, shape);
    try {
      return new TensorInfo(tensor, type, dimensions);
    } catch (IllegalArgumentException e) {
      throw malformed(rule, "tensor " + Names.quote(tensor) + ": " + e.getMessage());
    }
  }

  String require(String key) throws IOException {
    String value = metadata.get(key);
    if (value == null) {
      throw malformed("PF-FORMAT", "its metadata lacks " + key);
    }
    return value;
  }

  Set<Map.Entry<String, JsonNode>> object(String key, String text) throws IOException {
    JsonNode root = json(key, text);
    if (!root.isObject()) {
      throw malformed("PF-FORMAT", key + " is no JSON object");
    }
    return root.properties();
  }

  JsonNode json(String key, String text) throws IOException {
    // The text is as long as the header at most, which was checked; inside it, names are as long as they like.
    StreamReadConstraints constraints =
        StreamReadConstraints.builder().maxNestingDepth(16).maxNameLength(Integer.MAX_VALUE).maxStringLength(Integer.MAX_VALUE).build();
    ObjectMapper mapper =
        new ObjectMapper(
                JsonFactory.builder().streamReadConstraints(constraints).enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    try {
      return mapper.readTree(text);
    } catch (JsonProcessingException e) {
      throw malformed("PF-FORMAT", key + " is not JSON: " + Names.quote(e.getOriginalMessage()));
    }
  }

  MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
