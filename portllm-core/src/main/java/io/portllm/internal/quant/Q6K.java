package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, sixteen signed scales s of sixteen elements each, F16 d;
 * value = d·s·(code − 32). Of each 128 elements, byte i of 64 holds the low nibbles of elements i (low) and i + 64 (high), byte i of 32 the
 * high pairs of elements i, i + 32, i + 64 and i + 96, from its low bits on.
 */
final class Q6K extends BlockwiseCodec {
  private static final int PAIRS = 128;
  private static final int SCALES = 192;

  Q6K() {
    super(DType.Q6_K, true);
  }

  @Override
  BlockWriter writer() {
    return new Q6KWriter();
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + 208);
    for (int group = 0; group < 16; group++) {
      float scale = d * block[at + SCALES + group];
      int half = group >> 3;
      int shift = group & 4;
      int pairShift = group & 6;
      int source = at + 64 * half + 16 * (group & 3);
      int pairs = at + PAIRS + 32 * half + 16 * (group & 1);
      int target = from + 16 * group;
      for (int i = 0; i < 16; i++) {
        int code = block[source + i] >> shift & 15 | (block[pairs + i] >> pairShift & 3) << 4;
        values[target + i] = scale * (code - 32);
      }
    }
  }
}
