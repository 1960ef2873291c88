package io.portllm.internal.quant;

/**
 * Writes Q2_K as ggml's {@code quantize_row_q2_K_ref}: sixteen bytes of scales (low nibbles) and minimums (high nibbles) of groups
 * of sixteen, 64 bytes of codes, F16 scale of scales, F16 scale of minimums.
 */
final class Q2KWriter implements BlockWriter {
  private static final int GROUPS = 16;
  private static final int SIZE = 16;
  private static final float TOP_SCALE = 15;

  private final ScaleMinSearch search = new ScaleMinSearch(new ScaleMinSearch.Plan(SIZE, 3, -0.5f, 0.1f, 15, true));
  private final Requantisation requantisation = new Requantisation();
  private final int[] codes = new int[256];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    int step = ScaleMinSearch.LANES / GROUPS;
    for (int done = 0; done < blocks; done += step) {
      int count = Math.min(step, blocks - done);
      search.search(values, from + 256 * done, GROUPS * count);
      for (int i = 0; i < count; i++) {
        writeBlock(values, from + 256 * (done + i), GROUPS * i, target, at + 84 * (done + i));
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
    float scales = TOP_SCALE / mostScale;
    float offsets = TOP_SCALE / mostOffset;
    Bytes.putF16(target, at + 80, mostScale > 0 ? mostScale / TOP_SCALE : 0);
    Bytes.putF16(target, at + 82, mostOffset > 0 ? mostOffset / TOP_SCALE : 0);
    float d = Bytes.f16(target, at + 80);
    float m = Bytes.f16(target, at + 82);
    for (int j = 0; j < GROUPS; j++) {
      int low = mostScale > 0 ? NearestInt.of(scales * search.scale(group + j)) : 0;
      int high = mostOffset > 0 ? NearestInt.of(offsets * search.offset(group + j)) : 0;
      int both = (low | high << 4) & 0xff;
      target[at + j] = (byte) both;
      float scale = d * (both & 15);
      if (scale == 0) {
        search.codes(group + j, codes, SIZE * j);
      } else {
        requantisation.codes(values, from + SIZE * j, SIZE, m * (both >> 4), scale, 0, 3, codes, SIZE * j);
      }
    }
    KPacking.twoBits(codes, target, at + 16);
  }
}
