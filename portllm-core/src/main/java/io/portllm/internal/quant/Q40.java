package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/** Q4_0: F16 scale d, sixteen bytes of two codes (element j low, j + 16 high); value = (code − 8)·d. */
final class Q40 extends BlockwiseCodec {
  Q40() {
    super(DType.Q4_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int j = 0; j < 16; j++) {
      int codes = block[at + 2 + j];
      values[from + j] = ((codes & 15) - 8) * d;
      values[from + 16 + j] = ((codes >> 4 & 15) - 8) * d;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.farthest(values, from, 32) / -8;
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 2, at + 18, (byte) 0);
      return;
    }
    for (int j = 0; j < 16; j++) {
      int low = (int) (values[from + j] * inverse + 8.5f);
      int high = (int) (values[from + 16 + j] * inverse + 8.5f);
      // From 16, the farthest value's opposite, to 15.
      block[at + 2 + j] = (byte) (low - (low >> 4) | high - (high >> 4) << 4);
    }
  }
}
