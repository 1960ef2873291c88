package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q2_K: sixteen bytes of a scale s (low nibble) and a minimum m of sixteen elements each, 64 bytes of four codes of two bits, F16 d, F16
 * dmin; value = d·s·code − dmin·m. Byte 32·h + i of the codes holds, from its low bits on, elements 128·h + i, + 32, + 64 and + 96.
 */
final class Q2K extends BlockwiseCodec {
  private static final int CODES = 16;

  Q2K() {
    super(DType.Q2_K, true);
  }

  @Override
  BlockWriter writer() {
    return new Q2KWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + 80);
    float dmin = Bytes.f16(block, at + 82);
    for (int group = 0; group < 16; group++) {
      int scales = block[at + group];
      float scale = d * (scales & 15);
      float least = dmin * (scales >> 4 & 15);
      int shift = group & 6;
      int source = at + CODES + (group >> 3) * 32 + (group & 1) * 16;
      int target = from + 16 * group;
      for (int i = 0; i < 16; i++) {
        values[target + i] = scale * (block[source + i] >> shift & 3) - least;
      }
    }
  }
}
