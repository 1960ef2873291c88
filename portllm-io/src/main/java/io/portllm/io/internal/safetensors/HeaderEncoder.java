package io.portllm.io.internal.safetensors;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.json.StrictJson;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** Writes headers; see {@link SafetensorsHeader#encode}. */
final class HeaderEncoder {
  private static final JsonFactory FACTORY = new JsonFactory();
  private static final int ALIGNMENT = 8;

  private HeaderEncoder() {}

  static byte[] encode(List<TensorInfo> tensors, Map<String, String> metadata) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    try (Writer writer = new OutputStreamWriter(text, StandardCharsets.UTF_8);
        JsonGenerator json = FACTORY.createGenerator(writer)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        writeMetadata(json, metadata);
      }
      writeTensors(json, tensors);
      json.writeEndObject();
    } catch (IOException e) {
      throw new AssertionError("writing to memory", e);
    }
    int padded = (text.size() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (padded > SafetensorsHeader.LONGEST) {
      throw new IllegalArgumentException(
          "a header must be at most " + SafetensorsHeader.LONGEST + " bytes but that of " + tensors.size() + " tensors has " + padded);
    }
    byte[] header = new byte[SafetensorsHeader.LENGTH_BYTES + padded];
    ByteBuffer buffer = ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(padded).put(text.toByteArray());
    while (buffer.hasRemaining()) {
      buffer.put((byte) ' ');
    }
    return header;
  }

  private static void writeMetadata(JsonGenerator json, Map<String, String> metadata) throws IOException {
    json.writeObjectFieldStart(SafetensorsHeader.METADATA);
    for (Map.Entry<String, String> entry : new TreeMap<>(metadata).entrySet()) {
      json.writeStringField(requireEncodable("metadata key", entry.getKey()), requireEncodable("metadata value", entry.getValue()));
    }
    json.writeEndObject();
  }

  private static void writeTensors(JsonGenerator json, List<TensorInfo> tensors) throws IOException {
    Set<String> names = new HashSet<>();
    long begin = 0;
    for (TensorInfo tensor : tensors) {
      String name = requireEncodable("tensor name", tensor.name());
      if (name.equals(SafetensorsHeader.METADATA) || !names.add(name)) {
        throw new IllegalArgumentException(
            "tensor " + Names.quote(name) + (names.contains(name) ? " occurs twice" : " has the name of the metadata"));
      }
      long end;
      try {
        end = Math.addExact(begin, tensor.bytes());
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException("tensor " + Names.quote(name) + " ends beyond 2^63 - 1 bytes", e);
      }
      if (tensor.dtype().isQuantised()) {
        throw new IllegalArgumentException(
            "tensor " + Names.quote(name) + " is " + tensor.dtype() + ", which safetensors files cannot hold");
      }
      if (tensor.elements() % tensor.dtype().blockElements() != 0) {
        throw new IllegalArgumentException(
            "tensor " + Names.quote(name) + ": shape " + tensor.shape() + " x " + tensor.dtype() + " fills no whole bytes");
      }
      json.writeObjectFieldStart(name);
      json.writeStringField("dtype", tensor.dtype().name());
      writeArray(json, "shape", tensor.shape().toArray());
      writeArray(json, "data_offsets", begin, end);
      json.writeEndObject();
      begin = end;
    }
  }

  private static void writeArray(JsonGenerator json, String field, long... numbers) throws IOException {
    json.writeFieldName(field);
    json.writeArray(numbers, 0, numbers.length);
  }

  /** Half of a surrogate pair has no UTF-8 form; an encoder would put a question mark. */
  private static String requireEncodable(String what, String value) {
    if (StrictJson.hasLoneSurrogate(value)) {
      throw new IllegalArgumentException(what + " " + Names.quote(value) + " has half of a surrogate pair");
    }
    return value;
  }
}
