package io.portllm.internal.quant;

import io.portllm.DType;

/** Q1_0: F16 scale d, 128 bits (element j is bit j mod 8 of byte j / 8); value = d where the bit is set, else −d. */
final class Q10 extends BlockwiseCodec {
  Q10() {
    super(DType.Q1_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    int d = Float.floatToRawIntBits(Bytes.f16(block, at));
    for (int j = 0; j < 128; j++) {
      int clear = ~block[at + 2 + (j >> 3)] >> (j & 7);
      values[from + j] = Float.intBitsToFloat(d ^ clear << 31);
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float sum = 0;
    for (int j = 0; j < 128; j++) {
      sum += Math.abs(values[from + j]);
    }
    Bytes.putF16(block, at, sum / 128);
    for (int i = 0; i < 16; i++) {
      int bits = 0;
      for (int j = 0; j < 8; j++) {
        bits |= (values[from + 8 * i + j] >= 0 ? 1 : 0) << j;
      }
      block[at + 2 + i] = (byte) bits;
    }
  }
}
