package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Writes IQ3_S as ggml's {@code quantize_iq3_s} without importances. {@link Iq3S} tells the layout.
 *
 * <p>After a group of 32 zeros in a block, ggml writes the further groups' entries and signs one group too early, so that they are read as
 * other groups'. So does this writer, for equal bytes.
 */
final class Iq3SWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 110;
  private static final int GROUPS = 8;
  private static final int SIZE = FourSearch.SIZE;

  private final GridSearch search = new FourSearch(new GridSearch.Plan(GridNeighbours.IQ3_S, 9, 0.2f, true));
  private final float[] scales = new float[GROUPS];
  private final int[] signs = new int[4];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
    float mostScale = 0;
    int place = 0;
    for (int group = 0; group < GROUPS; group++) {
      scales[group] = search(values, from + SIZE * group);
      if (scales[group] >= 0) {
        writeGroup(group, place++, target, at);
        mostScale = Math.max(mostScale, scales[group]);
      } else {
        scales[group] = 0;
      }
    }
    if (mostScale == 0) {
      return;
    }
    float d = mostScale / 31;
    Bytes.putF16(target, at, d * 1.033f);
    for (int group = 0; group < GROUPS; group++) {
      int s = NearestInt.of(0.5f * (1 / d * scales[group] - 1), 0, 15);
      target[at + 106 + group / 2] |= (byte) (s << group % 2 * 4);
    }
  }

  /** The scale found, or −1 of a group of zeros. */
  private float search(float[] values, int from) {
    float[] magnitudes = search.values();
    for (int k = 0; k < 4; k++) {
      signs[k] = Magnitudes.of(values, from + 8 * k, magnitudes, 8 * k);
    }
    float most = Magnitudes.most(magnitudes);
    if (most == 0) {
      return -1;
    }
    float[] weights = search.weights();
    for (int i = 0; i < SIZE; i++) {
      weights[i] = magnitudes[i] * magnitudes[i];
    }
    search.search(most);
    // Not what it takes to be NaN: there the reference stops the process.
    return search.scale() > 0 ? search.scale() : 0;
  }

  private void writeGroup(int group, int place, byte[] target, int at) {
    for (int k = 0; k < 8; k++) {
      int entry = search.chosen()[k];
      target[at + 2 + 8 * place + k] = (byte) entry;
      target[at + 66 + group] |= (byte) (entry >> 8 << k);
    }
    for (int k = 0; k < 4; k++) {
      target[at + 74 + 4 * place + k] = (byte) signs[k];
    }
  }
}
