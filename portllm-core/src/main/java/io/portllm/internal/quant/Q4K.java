package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q4_K: F16 d, F16 dmin, {@link PackedScales} s and m of 32 elements each, 128 bytes of two codes; value = d·s·code − dmin·m. Byte
 * 32·n + i holds elements 64·n + i (low) and 64·n + 32 + i (high).
 */
final class Q4K extends BlockwiseCodec {
  private static final int SCALES = 4;
  private static final int CODES = 16;

  Q4K() {
    super(DType.Q4_K, true);
  }

  @Override
  BlockWriter writer() {
    return Q45KWriter.q4();
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
        values[target + i] = lowScale * (codes & 15) - lowLeast;
        values[target + 32 + i] = highScale * (codes >> 4 & 15) - highLeast;
      }
    }
  }
}
