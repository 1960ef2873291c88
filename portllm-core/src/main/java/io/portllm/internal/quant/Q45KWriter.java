package io.portllm.internal.quant;

/**
 * Writes Q4_K and Q5_K as ggml's {@code quantize_row_q4_K_ref} and {@code quantize_row_q5_K_ref}: F16 scale of scales, F16 scale of minimums,
 * twelve bytes of scales and minimums of groups of 32 (six bits each), of Q5_K 32 bytes of fifth bits, 128 bytes of the lower four.
 */
final class Q45KWriter implements BlockWriter {
  private static final int GROUPS = 8;
  private static final int SIZE = 32;
  private static final float TOP_SCALE = 63;

  private final int top;
  private final int blockBytes;
  private final ScaleMinSearch search;
  private final Requantisation requantisation = new Requantisation();
  private final int[] codes = new int[256];
  private final int[] scales = new int[GROUPS];
  private final int[] offsets = new int[GROUPS];

  private Q45KWriter(ScaleMinSearch.Plan plan, int blockBytes) {
    top = plan.top();
    this.blockBytes = blockBytes;
    search = new ScaleMinSearch(plan);
  }

  static Q45KWriter q4() {
    return new Q45KWriter(new ScaleMinSearch.Plan(SIZE, 15, -1, 0.1f, 20, false), 144);
  }

  static Q45KWriter q5() {
    return new Q45KWriter(new ScaleMinSearch.Plan(SIZE, 31, -0.5f, 0.1f, 15, false), 176);
  }

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    int step = ScaleMinSearch.LANES / GROUPS;
    for (int done = 0; done < blocks; done += step) {
      int count = Math.min(step, blocks - done);
      search.search(values, from + 256 * done, GROUPS * count);
      for (int i = 0; i < count; i++) {
        writeBlock(values, from + 256 * (done + i), GROUPS * i, target, at + blockBytes * (done + i));
      }
    }
  }

  private void writeBlock(float[] values, int from, int group, byte[] target, int at) {
    float mostScale = 0;
    float mostOffset = 0;
    for (int j = 0; j < GROUPS; j++) {
      // Unlike Math.max, not NaN, to which weights near the end of float32's range come.
      mostScale = search.scale(group + j) > mostScale ? search.scale(group + j) : mostScale;
      mostOffset = search.offset(group + j) > mostOffset ? search.offset(group + j) : mostOffset;
    }
    Bytes.putF16(target, at, mostScale / TOP_SCALE);
    Bytes.putF16(target, at + 2, mostOffset / TOP_SCALE);
    float toScale = mostScale > 0 ? TOP_SCALE / mostScale : 0;
    float toOffset = mostOffset > 0 ? TOP_SCALE / mostOffset : 0;
    float d = Bytes.f16(target, at);
    float m = Bytes.f16(target, at + 2);
    for (int j = 0; j < GROUPS; j++) {
      // The byte that ggml keeps them in.
      scales[j] = Math.min(63, NearestInt.of(toScale * search.scale(group + j)) & 0xff);
      offsets[j] = Math.min(63, NearestInt.of(toOffset * search.offset(group + j)) & 0xff);
      float scale = d * scales[j];
      if (scale == 0) {
        search.codes(group + j, codes, SIZE * j);
      } else {
        requantisation.codes(values, from + SIZE * j, SIZE, m * offsets[j], scale, 0, top, codes, SIZE * j);
      }
    }
    writeScales(target, at + 4);
    if (top > 15) {
      KPacking.oneBit(codes, 4, target, at + 16);
    }
    KPacking.fourBits(codes, target, at + blockBytes - 128);
  }

  /** Six bits of the first four scales and offsets, with the last four's upper two bits above them; then the last four's lower nibbles. */
  private void writeScales(byte[] target, int at) {
    for (int j = 0; j < 4; j++) {
      target[at + j] = (byte) (scales[j] | scales[j + 4] >> 4 << 6);
      target[at + 4 + j] = (byte) (offsets[j] | offsets[j + 4] >> 4 << 6);
      target[at + 8 + j] = (byte) (scales[j + 4] & 15 | (offsets[j + 4] & 15) << 4);
    }
  }
}
