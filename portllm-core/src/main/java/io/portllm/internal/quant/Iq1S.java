package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ1_S: F16 d, for each eight elements the low byte of an entry of {@link Grid#IQ1}, then for each 32 elements sixteen bits: the entries'
 * high three bits, the scale s (three bits) and the sign of a shift; value = d·(2·s + 1)·(entry ± ⅛).
 */
final class Iq1S extends BlockwiseCodec {
  static final float SHIFT = 0.125f;

  private static final int ENTRIES = 2;
  private static final int HIGH = 34;

  Iq1S() {
    super(DType.IQ1_S, false);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int group = 0; group < 8; group++) {
      int high = Bytes.u16(block, at + HIGH + 2 * group);
      float scale = d * (2 * (high >> 12 & 7) + 1);
      float shift = (high & 0x8000) == 0 ? SHIFT : -SHIFT;
      for (int i = 0; i < 4; i++) {
        int entry = Bytes.u8(block, at + ENTRIES + 4 * group + i) | (high >> 3 * i & 7) << 8;
        read(entry, scale, shift, values, from + 32 * group + 8 * i);
      }
    }
  }

  static void read(int entry, float scale, float shift, float[] values, int from) {
    float[] grid = Grid.IQ1.vectors();
    for (int i = 0; i < 8; i++) {
      values[from + i] = scale * (grid[8 * entry + i] + shift);
    }
  }
}
