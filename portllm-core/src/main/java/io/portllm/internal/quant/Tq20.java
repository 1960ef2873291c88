package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * TQ2_0: 64 bytes of four codes of two bits, F16 scale d; value = (code − 1)·d. Byte 32·h + m holds, from its low bits on, elements
 * 128·h + m, + 32, + 64 and + 96.
 */
final class Tq20 extends BlockwiseCodec {
  private static final int SCALE = 64;

  Tq20() {
    super(DType.TQ2_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + SCALE);
    for (int half = 0; half < 2; half++) {
      for (int n = 0; n < 4; n++) {
        int target = from + 128 * half + 32 * n;
        for (int m = 0; m < 32; m++) {
          values[target + m] = ((block[at + 32 * half + m] >> 2 * n & 3) - 1) * d;
        }
      }
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.magnitude(values, from, 256);
    float inverse = ternaryReciprocal(d);
    for (int half = 0; half < 2; half++) {
      for (int m = 0; m < 32; m++) {
        int codes = 0;
        for (int n = 0; n < 4; n++) {
          codes |= Rounds.halfAway(values[from + 128 * half + 32 * n + m] * inverse) + 1 << 2 * n;
        }
        block[at + 32 * half + m] = (byte) codes;
      }
    }
    Bytes.putF16(block, at + SCALE, d);
  }

  /** The factor that brings values to −1 to 1; 0, which makes all values 0, where the reciprocal has no finite float32. */
  static float ternaryReciprocal(float d) {
    float inverse = Rounds.reciprocal(d);
    return Float.isInfinite(inverse) ? 0 : inverse;
  }
}
