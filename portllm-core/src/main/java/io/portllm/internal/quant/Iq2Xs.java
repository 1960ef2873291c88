package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ2_XS: F16 d, for each eight elements sixteen bits of an entry of {@link Grid#IQ2_XS} (nine bits) and seven signs, then eight bytes of
 * two scales s of sixteen elements each; value = ±d·(s + ½)/4·entry.
 */
final class Iq2Xs extends BlockwiseCodec {
  private static final int SCALES = 66;

  Iq2Xs() {
    super(DType.IQ2_XS, false);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int i = 0; i < 32; i++) {
      int s = block[at + SCALES + (i >> 2)] >> ((i & 2) << 1) & 15;
      float scale = d * (0.5f + s) * 0.25f;
      int entry = Bytes.u16(block, at + 2 + 2 * i);
      Grid.IQ2_XS.read(entry & 511, scale, EvenSigns.of(entry >> 9), values, from + 8 * i);
    }
  }
}
