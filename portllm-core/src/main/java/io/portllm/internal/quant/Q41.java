package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/** Q4_1: F16 scale d, F16 least value m, sixteen bytes of two codes (element j low, j + 16 high); value = code·d + m. */
final class Q41 extends BlockwiseCodec {
  Q41() {
    super(DType.Q4_1, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    float m = Bytes.f16(block, at + 2);
    for (int j = 0; j < 16; j++) {
      int codes = block[at + 4 + j];
      values[from + j] = (codes & 15) * d + m;
      values[from + 16 + j] = (codes >> 4 & 15) * d + m;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float least = Extremes.least(values, from, 32);
    float d = (Extremes.greatest(values, from, 32) - least) / 15;
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    Bytes.putF16(block, at + 2, least);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 4, at + 20, (byte) 0);
      return;
    }
    for (int j = 0; j < 16; j++) {
      int low = (int) ((values[from + j] - least) * inverse + 0.5f);
      int high = (int) ((values[from + 16 + j] - least) * inverse + 0.5f);
      block[at + 4 + j] = (byte) (low | high << 4);
    }
  }
}
