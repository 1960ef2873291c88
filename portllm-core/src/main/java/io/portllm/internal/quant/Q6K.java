package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, sixteen signed scales s of sixteen elements each, F16 d;
 * value = d·s·(code − 32). Of each 128 elements, byte i of 64 holds the low nibbles of elements i (low) and i + 64 (high), byte i of 32 the
 * high pairs of elements i, i + 32, i + 64 and i + 96, from its low bits on.
 */
final class Q6K extends BlockwiseCodec {
  private static final int PAIRS = 128;
  private static final int SCALES = 192;

  Q6K() {
    super(DType.Q6_K, true);
  }

  @Override
  BlockWriter writer() {
    return new Q6KWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + 208);
    for (int part = 0; part < 4; part++) {
      // Sixteen elements each of four groups, whose codes share bytes.
      int half = part >> 1;
      int quarter = part & 1;
      int scales = at + SCALES + 8 * half + quarter;
      float scale0 = d * block[scales];
      float scale1 = d * block[scales + 2];
      float scale2 = d * block[scales + 4];
      float scale3 = d * block[scales + 6];
      int source = at + 64 * half + 16 * quarter;
      int pairs = at + PAIRS + 32 * half + 16 * quarter;
      int target = from + 128 * half + 16 * quarter;
      for (int i = 0; i < 16; i++) {
        int low = block[source + i];
        int high = block[source + 32 + i];
        int pair = block[pairs + i];
        values[target + i] = scale0 * ((low & 15 | pair << 4 & 48) - 32);
        values[target + 32 + i] = scale1 * ((high & 15 | pair << 2 & 48) - 32);
        values[target + 64 + i] = scale2 * ((low >> 4 & 15 | pair & 48) - 32);
        values[target + 96 + i] = scale3 * ((high >> 4 & 15 | pair >> 2 & 48) - 32);
      }
    }
  }
}
