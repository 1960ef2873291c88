package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * IQ4_XS: F16 d, sixteen bits of the scales' high bit pairs, four bytes of their low nibbles, then for each 32 elements sixteen bytes of
 * two codes; value = d·(s − 32)·level, of the {@link NonLinear} levels.
 */
final class Iq4Xs extends BlockwiseCodec {
  Iq4Xs() {
    super(DType.IQ4_XS, true);
  }

  @Override
  BlockWriter writer() {
    return new Iq4XsWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    int high = Bytes.u16(block, at + 2);
    for (int group = 0; group < 8; group++) {
      int s = block[at + 4 + (group >> 1)] >> ((group & 1) << 2) & 15 | (high >> 2 * group & 3) << 4;
      NonLinear.read(block, at + 8 + 16 * group, d * (s - 32), values, from + 32 * group);
    }
  }
}
