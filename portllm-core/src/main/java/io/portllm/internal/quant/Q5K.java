package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q5_K: as {@link Q4K}, with 32 bytes of fifth bits before the codes: those of elements 32·n + i are bit n of byte i.
 */
final class Q5K extends BlockwiseCodec {
  private static final int SCALES = 4;
  private static final int FIFTH = 16;
  private static final int CODES = 48;

  Q5K() {
    super(DType.Q5_K, true);
  }

  @Override
  BlockWriter writer() {
    return Q45KWriter.q5();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at);
    float dmin = Bytes.f16(block, at + 2);
    for (int group = 0; group < 8; group += 2) {
      float lowScale = d * PackedScales.scale(block, at + SCALES, group);
      float lowLeast = dmin * PackedScales.minimum(block, at + SCALES, group);
      float highScale = d * PackedScales.scale(block, at + SCALES, group + 1);
      float highLeast = dmin * PackedScales.minimum(block, at + SCALES, group + 1);
      int source = at + CODES + 16 * group;
      int target = from + 32 * group;
      for (int i = 0; i < 32; i++) {
        int codes = block[source + i];
        int fifth = block[at + FIFTH + i] >> group;
        values[target + i] = lowScale * (codes & 15 | fifth << 4 & 16) - lowLeast;
        values[target + 32 + i] = highScale * (codes >> 4 & 15 | fifth << 3 & 16) - highLeast;
      }
    }
  }
}
