package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/**
 * Q5_1: F16 scale d, F16 least value m, 32 bits of fifth bits (element j at bit j), sixteen bytes of low nibbles (element j low, j + 16
 * high); value = code·d + m.
 */
final class Q51 extends BlockwiseCodec {
  Q51() {
    super(DType.Q5_1, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    float m = Bytes.f16(block, at + 2);
    int fifth = Bytes.i32(block, at + 4);
    for (int j = 0; j < 16; j++) {
      int codes = block[at + 8 + j];
      values[from + j] = (codes & 15 | fifth >> j << 4 & 16) * d + m;
      values[from + 16 + j] = (codes >> 4 & 15 | fifth >> j + 12 & 16) * d + m;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float least = Extremes.least(values, from, 32);
    float d = (Extremes.greatest(values, from, 32) - least) / 31;
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    Bytes.putF16(block, at + 2, least);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 4, at + 24, (byte) 0);
      return;
    }
    int fifth = 0;
    for (int j = 0; j < 16; j++) {
      int low = (int) ((values[from + j] - least) * inverse + 0.5f);
      int high = (int) ((values[from + 16 + j] - least) * inverse + 0.5f);
      block[at + 8 + j] = (byte) (low & 15 | high << 4);
      fifth |= low >> 4 << j | high >> 4 << j + 16;
    }
    Bytes.putI32(block, at + 4, fifth);
  }
}
