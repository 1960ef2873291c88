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
    for (int group = 0; group < 16; group++) {
      float scale = d * (scale(block, at + SCALES, group) - 32);
      int half = (group & 1) * 16;
      int shift = group & 6;
      int third = group >> 1;
      int source = at + CODES + (group >> 3) * 32 + half;
      int target = from + 16 * group;
      for (int i = 0; i < 16; i++) {
        int code = block[source + i] >> shift & 3 | (block[at + half + i] >> third & 1) << 2;
        values[target + i] = scale * (code - 4);
      }
    }
  }

  private static int scale(byte[] block, int at, int group) {
    int low = block[at + (group & 7)] >> (group >> 3 << 2) & 15;
    int high = block[at + 8 + (group & 3)] >> (group >> 2 << 1) & 3;
    return low | high << 4;
  }
}
