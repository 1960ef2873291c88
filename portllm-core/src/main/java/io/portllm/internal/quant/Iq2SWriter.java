package io.portllm.internal.quant;

import java.util.Arrays;

/** Writes IQ2_S as ggml's {@code quantize_iq2_s} without importances. {@link Iq2S} tells the layout. */
final class Iq2SWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 82;
  private static final int GROUPS = 16;
  private static final int SIZE = EightSearch.SIZE;
  /** Groups whose largest magnitude is less become zeros. */
  private static final float LEAST_MAGNITUDE = 1e-8f;

  private final GridSearch search = new EightSearch(new GridSearch.Plan(GridNeighbours.IQ2_S, 9, 0.1f, false));
  private final float[] scales = new float[GROUPS];

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
    float base = 0.25f * (2 * Magnitudes.squares(values, from) / 256);
    float mostScale = 0;
    for (int group = 0; group < GROUPS; group++) {
      scales[group] = writeGroup(group, values, from + SIZE * group, base, target, at);
      mostScale = Math.max(mostScale, scales[group]);
    }
    if (mostScale == 0) {
      return;
    }
    float d = mostScale / 31;
    Bytes.putF16(target, at, d * 0.9875f);
    for (int group = 0; group < GROUPS; group++) {
      int s = NearestInt.of(0.5f * (1 / d * scales[group] - 1), 0, 15);
      target[at + 74 + group / 2] |= (byte) (s << group % 2 * 4);
    }
  }

  private float writeGroup(int group, float[] values, int from, float base, byte[] target, int at) {
    float[] magnitudes = search.values();
    int signs = Magnitudes.of(values, from, magnitudes, 0) | Magnitudes.of(values, from + 8, magnitudes, 8) << 8;
    float most = Magnitudes.most(magnitudes);
    if (most < LEAST_MAGNITUDE) {
      return 0;
    }
    float[] weights = search.weights();
    for (int i = 0; i < SIZE; i++) {
      weights[i] = base + magnitudes[i] * magnitudes[i];
    }
    search.search(most);
    for (int k = 0; k < 2; k++) {
      int entry = search.chosen()[k];
      target[at + 2 + 2 * group + k] = (byte) entry;
      target[at + 34 + 2 * group + k] = (byte) (signs >> 8 * k);
      target[at + 66 + group / 2] |= (byte) (entry >> 8 << 2 * (group % 2 * 2 + k));
    }
    // Not what it takes to be NaN: there the reference stops the process.
    return search.scale() > 0 ? search.scale() : 0;
  }
}
