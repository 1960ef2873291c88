package io.portllm.io.internal.adapter.kind;

import io.portllm.DType;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Reads elements of tensors of any arithmetic type as float32; F64 is rounded. */
final class Numbers {
  private static final int BLOCK = 32 << 10;

  private Numbers() {}

  /** All elements of a tensor that fits an array. */
  static float[] all(Tensor tensor) throws IOException {
    float[] values = new float[Math.toIntExact(tensor.info().elements())];
    read(tensor, 0, values.length, values);
    return values;
  }

  /** Reads {@code count} elements from element {@code first} on into the start of {@code target}. */
  static void read(Tensor tensor, long first, int count, float[] target) throws IOException {
    DType type = tensor.info().dtype();
    int block = Math.min(BLOCK, count);
    ByteBuffer bytes = ByteBuffer.allocate(block * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[block];
    int[] scratch = new int[block];
    for (int done = 0; done < count; done += block) {
      int length = Math.min(block, count - done);
      tensor.read((first + done) * type.bytes(), bytes.clear().limit(length * type.bytes()));
      Floats.read(type, bytes, 0, values, length, scratch);
      System.arraycopy(values, 0, target, done, length);
    }
  }
}
