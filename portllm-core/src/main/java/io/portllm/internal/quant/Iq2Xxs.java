package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ2_XXS: F16 d, then for each 32 elements four bytes of entries of {@link Grid#IQ2_XXS} and 32 bits of four times seven signs and, on
 * top, the scale s; value = ±d·(s + ½)/4·entry.
 */
final class Iq2Xxs extends BlockwiseCodec {
  Iq2Xxs() {
    super(DType.IQ2_XXS, false);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int group = 0; group < 8; group++) {
      int entries = at + 2 + 8 * group;
      int signs = Bytes.i32(block, entries + 4);
      float scale = d * (0.5f + (signs >>> 28)) * 0.25f;
      for (int i = 0; i < 4; i++) {
        Grid.IQ2_XXS.read(Bytes.u8(block, entries + i), scale, EvenSigns.of(signs >> 7 * i), values, from + 32 * group + 8 * i);
      }
    }
  }
}
