package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q3_K: 32 bytes of third bits, 64 bytes of four codes of two bits, twelve bytes of scales, F16 d; value = d·(s − 32)·(code − 4).
 * Codes lie as in Q2_K; the third bit of elements 32·n + i is bit n of byte i. The sixteen scales s have six bits: the low four in nibbles
 * of the first eight bytes (scale g low, g + 8 high), the high two in the last four (scale g at bits 2·(g / 4) of byte g mod 4).
 */
final class Q3K extends BlockwiseCodec {
  private static final int CODES = 32;
  private static final int SCALES = 96;

  Q3K() {
    super(DType.Q3_K, true);
  }

  @Override
  BlockWriter writer() {
    return new Q3KWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + 108);
    for (int part = 0; part < 4; part++) {
      // Sixteen elements each of four groups, whose codes share bytes.
      int half = part >> 1;
      int quarter = part & 1;
      int group = 8 * half + quarter;
      float scale0 = d * (scale(block, at + SCALES, group) - 32);
      float scale1 = d * (scale(block, at + SCALES, group + 2) - 32);
      float scale2 = d * (scale(block, at + SCALES, group + 4) - 32);
      float scale3 = d * (scale(block, at + SCALES, group + 6) - 32);
      int source = at + CODES + 32 * half + 16 * quarter;
      int target = from + 128 * half + 16 * quarter;
      for (int i = 0; i < 16; i++) {
        int codes = block[source + i];
        int third = block[at + 16 * quarter + i] >> 4 * half;
        values[target + i] = scale0 * ((codes & 3 | third << 2 & 4) - 4);
        values[target + 32 + i] = scale1 * ((codes >> 2 & 3 | third << 1 & 4) - 4);
        values[target + 64 + i] = scale2 * ((codes >> 4 & 3 | third & 4) - 4);
        values[target + 96 + i] = scale3 * ((codes >> 6 & 3 | third >> 1 & 4) - 4);
      }
    }
  }

  private static int scale(byte[] block, int at, int group) {
    int low = block[at + (group & 7)] >> (group >> 3 << 2) & 15;
    int high = block[at + 8 + (group & 3)] >> (group >> 2 << 1) & 3;
    return low | high << 4;
  }
}
