package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Reads runs of elements as float64. For one thread. */
final class Elements {
  private final int most;
  private final int[] bits;
  private final float[] floats;
  private ByteBuffer bytes = ByteBuffer.allocate(0);

  /** Reads up to {@code most} elements at a time. */
  Elements(int most) {
    this.most = most;
    this.bits = new int[most];
    this.floats = new float[most];
  }

  /** Reads {@code count} elements from element {@code first} on; infinite and NaN ones become zero. Returns how many those are. */
  long read(Tensor tensor, long first, int count, double[] target) throws IOException {
    DType type = tensor.info().dtype();
    ByteBuffer buffer = buffer(type, count);
    tensor.read(first * type.bytes(), buffer);
    return decode(type, buffer, count, target);
  }

  /** Room for {@code count} elements. */
  ByteBuffer buffer(DType type, int count) {
    if (bytes.capacity() < most * type.bytes()) {
      bytes = ByteBuffer.allocate(most * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    }
    return bytes.clear().limit(count * type.bytes());
  }

  /** Decodes what was read into a {@link #buffer}. */
  long decode(DType type, ByteBuffer buffer, int count, double[] target) {
    Floats.read(type, buffer, 0, target, count, bits, floats);
    return clean(target, count);
  }

  /** Sets infinite and NaN values to zero; returns how many there were. */
  static long clean(double[] values, int count) {
    long found = 0;
    for (int i = 0; i < count; i++) {
      if (!Double.isFinite(values[i])) {
        values[i] = 0;
        found++;
      }
    }
    return found;
  }
}
