package io.portllm.internal.quant;

/** Writes IQ4_XS as ggml's {@code quantize_iq4_xs} without importances. {@link Iq4Xs} tells the layout. */
final class Iq4XsWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 136;
  private static final int GROUPS = 8;
  private static final int SIZE = NonLinearSearch.SIZE;

  private final NonLinearSearch search = new NonLinearSearch();
  private final float[] scales = new float[GROUPS];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    float most = 0;
    for (int group = 0; group < GROUPS; group++) {
      scales[group] = search.search(values, from + SIZE * group);
      most = Math.abs(scales[group]) > Math.abs(most) ? scales[group] : most;
    }
    float d = -most / 32;
    Bytes.putF16(target, at, d);
    float inverse = Rounds.reciprocal(d);
    int low = 0;
    int high = 0;
    for (int group = 0; group < GROUPS; group++) {
      int s = NearestInt.of(inverse * scales[group], -32, 31);
      NonLinear.write(values, from + SIZE * group, Rounds.reciprocal(d * s), target, at + 8 + 16 * group);
      low |= (s + 32 & 15) << 4 * group;
      high |= (s + 32 >> 4) << 2 * group;
    }
    Bytes.putU16(target, at + 2, high);
    Bytes.putI32(target, at + 4, low);
  }
}
