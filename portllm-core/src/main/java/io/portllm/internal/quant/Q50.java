package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/**
 * Q5_0: F16 scale d, 32 bits of fifth bits (element j at bit j), sixteen bytes of low nibbles (element j low, j + 16 high);
 * value = (code − 16)·d.
 */
final class Q50 extends BlockwiseCodec {
  Q50() {
    super(DType.Q5_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    int fifth = Bytes.i32(block, at + 2);
    for (int j = 0; j < 16; j++) {
      int codes = block[at + 6 + j];
      values[from + j] = ((codes & 15 | fifth >> j << 4 & 16) - 16) * d;
      values[from + 16 + j] = ((codes >> 4 & 15 | fifth >> j + 12 & 16) - 16) * d;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.farthest(values, from, 32) / -16;
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 2, at + 22, (byte) 0);
      return;
    }
    int fifth = 0;
    for (int j = 0; j < 16; j++) {
      int low = (int) (values[from + j] * inverse + 16.5f);
      int high = (int) (values[from + 16 + j] * inverse + 16.5f);
      // From 32, the farthest value's opposite, to 31.
      low -= low >> 5;
      high -= high >> 5;
      block[at + 6 + j] = (byte) (low & 15 | high << 4);
      fifth |= low >> 4 << j | high >> 4 << j + 16;
    }
    Bytes.putI32(block, at + 2, fifth);
  }
}
