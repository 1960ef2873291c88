package io.portllm.internal.quant;

import java.util.Arrays;

/** Writes IQ3_XXS as ggml's {@code quantize_iq3_xxs} without importances. {@link Iq3Xxs} tells the layout. */
final class Iq3XxsWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 98;
  private static final int GROUPS = 8;
  private static final int SIZE = FourSearch.SIZE;
  /** Groups whose largest magnitude is less become zeros. */
  private static final float LEAST_MAGNITUDE = 1e-8f;

  private final GridSearch search = new FourSearch(new GridSearch.Plan(GridNeighbours.IQ3_XXS, 15, 0.2f, false));
  private final float[] scales = new float[GROUPS];
  private final int[] signs = new int[GROUPS];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
    float mostScale = 0;
    for (int group = 0; group < GROUPS; group++) {
      scales[group] = writeGroup(group, values, from + SIZE * group, target, at + 2 + 8 * group);
      mostScale = Math.max(mostScale, scales[group]);
    }
    if (mostScale == 0) {
      Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
      return;
    }
    float d = mostScale / 31;
    Bytes.putF16(target, at, d * 1.0125f);
    for (int group = 0; group < GROUPS; group++) {
      int s = NearestInt.of(0.5f * (1 / d * scales[group] - 1), 0, 15);
      Bytes.putI32(target, at + 66 + 4 * group, signs[group] | s << 28);
    }
  }

  private float writeGroup(int group, float[] values, int from, byte[] target, int at) {
    float[] magnitudes = search.values();
    float[] weights = search.weights();
    signs[group] = 0;
    int packed = 0;
    for (int k = 0; k < 4; k++) {
      int eight = Magnitudes.of(values, from + 8 * k, magnitudes, 8 * k);
      for (int i = 8 * k; i < 8 * k + 8; i++) {
        weights[i] = magnitudes[i] * magnitudes[i];
      }
      if (Integer.bitCount(eight) % 2 == 1) {
        eight ^= 1 << negateLeast(8 * k);
      }
      packed |= (eight & 127) << 7 * k;
    }
    float most = Magnitudes.most(magnitudes);
    if (most < LEAST_MAGNITUDE) {
      return 0;
    }
    search.search(most);
    float scale = search.scale();
    signs[group] = scale < 0 ? ~packed & 0xfff_ffff : packed;
    for (int k = 0; k < 8; k++) {
      target[at + k] = (byte) search.chosen()[k];
    }
    // Not what it takes to be NaN: there the reference stops the process.
    return Math.abs(scale) > 0 ? Math.abs(scale) : 0;
  }

  /** Makes the least important of eight magnitudes negative, for an even number of signs, and returns which one it is. */
  private int negateLeast(int from) {
    float[] magnitudes = search.values();
    float[] weights = search.weights();
    int at = from;
    for (int i = from + 1; i < from + 8; i++) {
      if (weights[i] * magnitudes[i] * magnitudes[i] < weights[at] * magnitudes[at] * magnitudes[at]) {
        at = i;
      }
    }
    magnitudes[at] = -magnitudes[at];
    return at - from;
  }
}
