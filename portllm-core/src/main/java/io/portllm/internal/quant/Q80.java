package io.portllm.internal.quant;

import io.portllm.DType;
import java.util.Arrays;

/** Q8_0: F16 scale d, 32 signed bytes; value = code·d. */
final class Q80 extends BlockwiseCodec {
  Q80() {
    super(DType.Q8_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int j = 0; j < 32; j++) {
      values[from + j] = block[at + 2 + j] * d;
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.magnitude(values, from, 32) / 127;
    float inverse = Rounds.reciprocal(d);
    Bytes.putF16(block, at, d);
    if (Float.isInfinite(inverse)) {
      Arrays.fill(block, at + 2, at + 34, (byte) 0);
      return;
    }
    for (int j = 0; j < 32; j++) {
      block[at + 2 + j] = (byte) Rounds.halfAway(values[from + j] * inverse);
    }
  }
}
