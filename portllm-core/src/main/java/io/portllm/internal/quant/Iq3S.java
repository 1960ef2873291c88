package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ3_S: F16 d, for each four elements the low byte of an entry of {@link Grid#IQ3_S}, for each 32 a byte of the entries' ninth bits, for
 * each eight a byte of signs, four bytes of two scales s of 32 elements each; value = ±d·(2·s + 1)·entry.
 */
final class Iq3S extends BlockwiseCodec {
  private static final int ENTRIES = 2;
  private static final int NINTH = 66;
  private static final int SIGNS = 74;
  private static final int SCALES = 106;

  Iq3S() {
    super(DType.IQ3_S, true);
  }

  @Override
  BlockWriter writer() {
    return new Iq3SWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    for (int group = 0; group < 8; group++) {
      int s = block[at + SCALES + (group >> 1)] >> ((group & 1) << 2) & 15;
      float scale = d * (1 + 2 * s);
      int ninth = block[at + NINTH + group];
      for (int i = 0; i < 8; i++) {
        int entry = Bytes.u8(block, at + ENTRIES + 8 * group + i) | (ninth >> i & 1) << 8;
        int signs = block[at + SIGNS + 4 * group + (i >> 1)] >> ((i & 1) << 2);
        Grid.IQ3_S.read(entry, scale, signs, values, from + 32 * group + 4 * i);
      }
    }
  }
}
