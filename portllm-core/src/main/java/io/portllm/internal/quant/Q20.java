package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/** Q2_0: F16 scale d, sixteen bytes of four codes of two bits (element j at bits 2·(j mod 4) of byte j / 4); value = (code − 1)·d. */
final class Q20 extends BlockwiseCodec {
  Q20() {
    super(DType.Q2_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int j = 0; j < 64; j++) {
      values[from + j] = ((block[at + 2 + (j >> 2)] >> 2 * (j & 3) & 3) - 1) * d;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.magnitude(values, from, 64);
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 2, at + 18, (byte) 0);
      return;
    }
    for (int i = 0; i < 16; i++) {
      int codes = 0;
      for (int j = 0; j < 4; j++) {
        // The largest magnitude is one scale, so that code 3, two scales, is never written.
        codes |= Rounds.halfAway(values[from + 4 * i + j] * inverse) + 1 << 2 * j;
      }
      block[at + 2 + i] = (byte) codes;
    }
  }
}
