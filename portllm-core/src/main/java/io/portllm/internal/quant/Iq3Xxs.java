package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ3_XXS: F16 d, for each four elements a byte, an entry of {@link Grid#IQ3_XXS}, then for each 32 elements 32 bits of four times seven
 * signs and, on top, the scale s; value = ±d·(s + ½)/2·entry.
 */
final class Iq3Xxs extends BlockwiseCodec {
  private static final int ENTRIES = 2;
  private static final int SIGNS = 66;

  Iq3Xxs() {
    super(DType.IQ3_XXS, true);
  }

  @Override
  BlockWriter writer() {
    return new Iq3XxsWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int group = 0; group < 8; group++) {
      int packed = Bytes.i32(block, at + SIGNS + 4 * group);
      float scale = d * (0.5f + (packed >>> 28)) * 0.5f;
      for (int i = 0; i < 4; i++) {
        int signs = EvenSigns.of(packed >> 7 * i);
        int entries = at + ENTRIES + 8 * group + 2 * i;
        int target = from + 32 * group + 8 * i;
        Grid.IQ3_XXS.read(Bytes.u8(block, entries), scale, signs, values, target);
        Grid.IQ3_XXS.read(Bytes.u8(block, entries + 1), scale, signs >> 4, values, target + 4);
      }
    }
  }
}
