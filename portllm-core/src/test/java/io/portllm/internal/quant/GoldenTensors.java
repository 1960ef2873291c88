package io.portllm.internal.quant;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The tensors of a small, well-formed safetensors file. */
final class GoldenTensors {
  private final ByteBuffer file;
  private final String header;
  private final int data;

  GoldenTensors(byte[] bytes) {
    file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    data = 8 + Math.toIntExact(file.getLong(0));
    header = new String(bytes, 8, data - 8, StandardCharsets.UTF_8);
  }

  boolean has(String name) {
    return header.contains("\"" + name + "\":{");
  }

  ByteBuffer bytes(String name) {
    Matcher offsets = Pattern.compile("\"" + Pattern.quote(name) + "\":\\{[^}]*\"data_offsets\":\\[(\\d+),(\\d+)]").matcher(header);
    if (!offsets.find()) {
      throw new IllegalArgumentException("no tensor " + name);
    }
    int start = Integer.parseInt(offsets.group(1));
    int end = Integer.parseInt(offsets.group(2));
    return file.slice(data + start, end - start).order(ByteOrder.LITTLE_ENDIAN);
  }

  float[] floats(String name) {
    ByteBuffer bytes = bytes(name);
    float[] values = new float[bytes.remaining() / 4];
    bytes.asFloatBuffer().get(values);
    return values;
  }
}
