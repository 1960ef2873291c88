package io.portllm.internal.quant;

import io.portllm.DType;
import io.portllm.internal.kernel.Floats;

/**
 * IQ1_M: for each eight elements the low byte of an entry of {@link Grid#IQ1}, for each eight a nibble of its high three bits and the sign
 * of a shift, then for each 64 elements sixteen bits of four scales s (three bits) of sixteen elements each; value = d·(2·s + 1)·(entry ±
 * ⅛). The top nibbles of the four sixteen bits are, from the low one on, the F16 d.
 */
final class Iq1M extends BlockwiseCodec {
  private static final int HIGH = 32;
  private static final int SCALES = 48;

  Iq1M() {
    super(DType.IQ1_M, true);
  }

  @Override
  BlockWriter writer() {
    return new Iq1MWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    int bits = 0;
    for (int i = 0; i < 4; i++) {
      bits |= Bytes.u16(block, at + SCALES + 2 * i) >> 12 << 4 * i;
    }
    float d = Floats.f16ToFloat(bits);
    for (int i = 0; i < 32; i++) {
      int s = Bytes.u16(block, at + SCALES + 2 * (i >> 3)) >> 3 * (i >> 1 & 3) & 7;
      float scale = d * (2 * s + 1);
      int high = block[at + HIGH + (i >> 1)] >> ((i & 1) << 2);
      float shift = (high & 8) == 0 ? Iq1S.SHIFT : -Iq1S.SHIFT;
      Iq1S.read(Bytes.u8(block, at + i) | (high & 7) << 8, scale, shift, values, from + 8 * i);
    }
  }
}
