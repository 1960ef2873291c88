package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Writes Q3_K as ggml's {@code quantize_row_q3_K_ref}: 32 bytes of third bits of codes, 64 bytes of the lower two, twelve bytes of scales
 * of groups of sixteen (six bits each), F16 scale of scales.
 */
final class Q3KWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 110;
  private static final int GROUPS = 16;
  private static final int SIZE = ThreeBitSearch.SIZE;

  private final ThreeBitSearch search = new ThreeBitSearch();
  private final Requantisation requantisation = new Requantisation();
  private final float[] found = new float[GROUPS];
  private final int[] codes = new int[256];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    float most = 0;
    for (int j = 0; j < GROUPS; j++) {
      found[j] = search.search(values, from + SIZE * j, codes, SIZE * j);
      most = Math.abs(found[j]) > Math.abs(most) ? found[j] : most;
    }
    Arrays.fill(target, at + 96, at + 108, (byte) 0);
    float inverse = -32 / most;
    Bytes.putF16(target, at + 108, most == 0 ? 0 : 1 / inverse);
    float d = Bytes.f16(target, at + 108);
    for (int j = 0; j < GROUPS; j++) {
      // Without any scale, no bits are set at all: they would stand for −32.
      int code = most == 0 ? -32 : writeScale(inverse * found[j], j, target, at + 96);
      float scale = d * code;
      if (scale != 0) {
        requantisation.codes(values, from + SIZE * j, SIZE, 0, scale, -4, 3, codes, SIZE * j);
        for (int i = SIZE * j; i < SIZE * (j + 1); i++) {
          codes[i] += 4;
        }
      }
    }
    KPacking.oneBit(codes, 2, target, at);
    KPacking.twoBits(codes, target, at + 32);
  }

  private static int writeScale(float scale, int j, byte[] target, int at) {
    // The signed byte that ggml keeps it in.
    int code = Math.max(-32, Math.min(31, (byte) NearestInt.of(scale)));
    int bits = code + 32;
    target[at + j % 8] |= (byte) ((bits & 15) << (j < 8 ? 0 : 4));
    target[at + 8 + j % 4] |= (byte) (bits >> 4 << 2 * (j / 4));
    return code;
  }
}
