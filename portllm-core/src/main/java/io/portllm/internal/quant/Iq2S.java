package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ2_S: F16 d, for each eight elements the low byte of an entry of {@link Grid#IQ2_S}, for each eight a byte of signs, for each 32 a byte
 * of the entries' high bit pairs, for each 32 a byte of two scales s of sixteen elements each; value = ±d·(s + ½)/4·entry.
 */
final class Iq2S extends BlockwiseCodec {
  private static final int SIGNS = 34;
  private static final int HIGH = 66;
  private static final int SCALES = 74;

  Iq2S() {
    super(DType.IQ2_S, true);
  }

  @Override
  BlockWriter writer() {
    return new Iq2SWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int i = 0; i < 32; i++) {
      int s = block[at + SCALES + (i >> 2)] >> ((i & 2) << 1) & 15;
      float scale = d * (0.5f + s) * 0.25f;
      int high = block[at + HIGH + (i >> 2)] >> 2 * (i & 3) & 3;
      Grid.IQ2_S.read(Bytes.u8(block, at + 2 + i) | high << 8, scale, block[at + SIGNS + i], values, from + 8 * i);
    }
  }
}
