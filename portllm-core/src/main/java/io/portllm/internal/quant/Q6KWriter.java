package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Writes Q6_K as ggml's {@code quantize_row_q6_K_ref}: 128 bytes of the lower four bits of codes, 64 bytes of the upper two, sixteen signed
 * bytes of scales of groups of sixteen, F16 scale of scales.
 */
final class Q6KWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 210;
  private static final int GROUPS = 16;
  private static final int SIZE = ScaleSearch.SIZE;

  private final ScaleSearch search = new ScaleSearch();
  private final Requantisation requantisation = new Requantisation();
  private final int[] codes = new int[256];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    int step = ScaleSearch.LANES / GROUPS;
    for (int done = 0; done < blocks; done += step) {
      int count = Math.min(step, blocks - done);
      search.search(values, from + 256 * done, GROUPS * count);
      for (int i = 0; i < count; i++) {
        writeBlock(values, from + 256 * (done + i), GROUPS * i, target, at + BLOCK_BYTES * (done + i));
      }
    }
  }

  private void writeBlock(float[] values, int from, int group, byte[] target, int at) {
    float most = 0;
    for (int j = 0; j < GROUPS; j++) {
      most = Math.abs(search.scale(group + j)) > Math.abs(most) ? search.scale(group + j) : most;
    }
    if (Math.abs(most) < ScaleSearch.LEAST_MAGNITUDE) {
      Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
      return;
    }
    float inverse = -128 / most;
    Bytes.putF16(target, at + 208, 1 / inverse);
    float d = Bytes.f16(target, at + 208);
    for (int j = 0; j < GROUPS; j++) {
      byte code = (byte) Math.min(127, NearestInt.of(inverse * search.scale(group + j)));
      target[at + 192 + j] = code;
      float scale = d * code;
      if (scale == 0) {
        search.codes(group + j, codes, SIZE * j);
      } else {
        requantisation.codes(values, from + SIZE * j, SIZE, 0, scale, -32, 31, codes, SIZE * j);
        for (int i = SIZE * j; i < SIZE * (j + 1); i++) {
          codes[i] += 32;
        }
      }
    }
    pack(target, at);
  }

  private void pack(byte[] target, int at) {
    for (int half = 0; half < 2; half++) {
      for (int l = 0; l < 32; l++) {
        int j = 128 * half + l;
        int a = codes[j];
        int b = codes[j + 32];
        int c = codes[j + 64];
        int d = codes[j + 96];
        target[at + 64 * half + l] = (byte) (a & 15 | (c & 15) << 4);
        target[at + 64 * half + 32 + l] = (byte) (b & 15 | (d & 15) << 4);
        target[at + 128 + 32 * half + l] = (byte) (a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
      }
    }
  }
}
