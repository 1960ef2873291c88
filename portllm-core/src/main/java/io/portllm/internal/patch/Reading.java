package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Reads runs of small size into new arrays. */
final class Reading {
  private Reading() {}

  /** Bytes of a tensor, little-endian, from index 0. */
  static ByteBuffer bytes(Tensor tensor, long offset, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(offset, bytes);
    return bytes.flip();
  }

  /** Elements of an arithmetic type as float32. */
  static float[] floats(Tensor tensor, long first, int count) throws IOException {
    DType type = tensor.info().dtype();
    float[] values = new float[count];
    Floats.read(type, bytes(tensor, first * type.bytes(), Math.multiplyExact(count, type.bytes())), 0, values, count, new int[count]);
    return values;
  }
}
