package io.portllm.io.golden;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Copies a bfloat16 model into another type. */
final class SafetensorsCopy {
  private SafetensorsCopy() {}

  /** Writes {@code model}, of BF16 tensors, as {@code type}: BF16, F16 or F32. */
  static void write(ModelVersion model, DType type, Path file) throws IOException {
    ObjectNode header = new ObjectMapper().createObjectNode();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    for (TensorInfo tensor : model.tensors()) {
      int start = data.size();
      data.write(converted(Goldens.bytes(model, tensor), type));
      ObjectNode entry = header.putObject(tensor.name()).put("dtype", type.name());
      for (long dimension : tensor.shape().toArray()) {
        entry.withArray("shape").add(dimension);
      }
      entry.putArray("data_offsets").add(start).add(data.size());
    }
    byte[] json = header.toString().getBytes(StandardCharsets.UTF_8);
    ByteBuffer whole = ByteBuffer.allocate(8 + json.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(file, whole.putLong(json.length).put(json).put(data.toByteArray()).array());
  }

  private static byte[] converted(ByteBuffer bfloats, DType type) {
    ByteBuffer converted = ByteBuffer.allocate(bfloats.limit() / 2 * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    while (bfloats.hasRemaining()) {
      short bits = bfloats.getShort();
      switch (type) {
        case BF16 -> converted.putShort(bits);
        case F16 -> converted.putShort(half(Float.intBitsToFloat(bits << 16)));
        case F32 -> converted.putInt(bits << 16);
        default -> throw new IllegalArgumentException("type must be BF16, F16 or F32 but was " + type);
      }
    }
    return converted.array();
  }

  /** The nearest float16, ties to even, of a finite value that float16 can hold; Float.floatToFloat16 is newer than JDK 17. */
  private static short half(float value) {
    // One unit in the last place: 2^-10 of the power of two below, 2^-24 at least. Below 2048 units, rint is exact.
    int exponent = Math.max(Math.getExponent(value), -14);
    long units = (long) Math.rint(Math.scalb((double) Math.abs(value), 10 - exponent));
    // 1024 units carry into the exponent's field by themselves.
    int magnitude = (int) (units + ((long) (exponent + 14) << 10));
    return (short) (magnitude | (Float.floatToRawIntBits(value) >>> 16 & 0x8000));
  }
}
