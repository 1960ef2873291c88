package io.portllm.internal.quant;

import io.portllm.internal.kernel.Floats;
import java.util.Arrays;

/** Writes IQ1_M as ggml's {@code quantize_iq1_m} without importances. {@link Iq1M} tells the layout. */
final class Iq1MWriter implements BlockWriter {
  private static final int BLOCK_BYTES = 56;
  private static final int GROUPS = 16;
  private static final int SIZE = TernarySearch.SIZE;
  /** Groups whose largest magnitude is less become zeros. */
  private static final float LEAST_MAGNITUDE = 1e-7f;
  /** By the choice of shifts: the bits of shifts that go down. */
  private static final int[] SHIFT_BITS = {0x00, 0x80, 0x08, 0x88};

  private final TernarySearch search = new TernarySearch();
  private final GridNeighbours.Table table = GridNeighbours.IQ1.table();
  private final float[] weights = new float[256];
  private final float[] groupWeights = new float[SIZE];
  private final float[] scales = new float[GROUPS];
  private final int[] shifts = new int[GROUPS];
  private final int[] entries = new int[2 * GROUPS];
  private float sumXQ;
  private float sumQQ;

  @Override
  public void write(float[] values, int from, int blocks, byte[] target, int at) {
    for (int i = 0; i < blocks; i++) {
      writeBlock(values, from + 256 * i, target, at + BLOCK_BYTES * i);
    }
  }

  private void writeBlock(float[] values, int from, byte[] target, int at) {
    for (int i = 0; i < 256; i++) {
      weights[i] = values[from + i] * values[from + i];
    }
    Arrays.fill(entries, 0);
    float mostScale = 0;
    for (int group = 0; group < GROUPS; group++) {
      scales[group] = search(values, from + SIZE * group, group);
      mostScale = Math.max(mostScale, scales[group]);
    }
    Arrays.fill(target, at, at + BLOCK_BYTES, (byte) 0);
    for (int i = 0; i < 2 * GROUPS; i++) {
      target[at + i] = (byte) entries[i];
      target[at + 32 + i / 2] |= (byte) (entries[i] >> 8 << i % 2 * 4);
    }
    if (mostScale != 0) {
      writeScales(mostScale / 15, values, from, target, at);
    }
  }

  /** The scale of a group, whose entries and shifts are kept, or 0. */
  private float search(float[] values, int from, int group) {
    shifts[group] = 0;
    float most = 0;
    for (int i = 0; i < SIZE; i++) {
      most = Math.max(most, Math.abs(values[from + i]));
    }
    System.arraycopy(weights, SIZE * group, groupWeights, 0, SIZE);
    if (most < LEAST_MAGNITUDE || !search.search(values, from, groupWeights)) {
      return 0;
    }
    shifts[group] = search.shifts();
    float scale = search.scale();
    boolean onGrid = true;
    for (int half = 0; half < 2; half++) {
      int code = 0;
      for (int i = 0; i < 8; i++) {
        code |= search.codes()[8 * half + i] << 2 * i;
      }
      int entry = table.entries()[code];
      if (entry < 0) {
        onGrid = false;
        float[] levels = TernarySearch.levels(shifts[group], half);
        entry = nearest(-1 - entry, values, from + 8 * half, SIZE * group + 8 * half, scale, levels);
      }
      entries[2 * group + half] = entry;
    }
    if (!onGrid) {
      sumXQ = 0;
      sumQQ = 0;
      sum(group, 1, values, from);
      scale = sumXQ > 0 && sumQQ > 0 ? sumXQ / sumQQ : scale;
    }
    return scale;
  }

  /** The nearest entry of a list, the first of equals: distances are not negative, so that their bits have their order. */
  private int nearest(int list, float[] values, int from, int weight, float scale, float[] levels) {
    char[] lists = table.lists();
    int end = list + lists[list];
    long nearest = Long.MAX_VALUE;
    for (int i = list + 1; i <= end; i++) {
      int code = Grid.IQ1.code(lists[i]);
      float distance = 0;
      for (int j = 0; j < 8; j++) {
        float difference = scale * levels[code >> 2 * j & 3] - values[from + j];
        distance += weights[weight + j] * difference * difference;
      }
      nearest = Math.min(nearest, (long) Float.floatToRawIntBits(distance) << 32 | i);
    }
    return lists[(int) nearest];
  }

  /** Adds what least squares need of a group's entries, scaled. */
  private void sum(int group, int scale, float[] values, int from) {
    for (int i = 0; i < SIZE; i++) {
      int half = i / 8;
      int level = Grid.IQ1.code(entries[2 * group + half]) >> i % 8 * 2 & 3;
      float q = TernarySearch.levels(shifts[group], half)[level] * scale;
      float w = weights[SIZE * group + i];
      sumXQ += w * q * values[from + i];
      sumQQ += w * q * q;
    }
  }

  private void writeScales(float least, float[] values, int from, byte[] target, int at) {
    float inverse = 1 / least;
    int[] words = new int[4];
    sumXQ = 0;
    sumQQ = 0;
    for (int group = 0; group < GROUPS; group++) {
      int s = NearestInt.of(0.5f * (inverse * scales[group] - 1), 0, 7);
      words[group / 4] |= s << group % 4 * 3;
      target[at + 32 + group] |= (byte) SHIFT_BITS[shifts[group]];
      sum(group, 2 * s + 1, values, from + SIZE * group);
    }
    float d = sumQQ > 0 ? sumXQ / sumQQ : least;
    int bits = Floats.floatToF16(d * 1.1125f);
    for (int i = 0; i < 4; i++) {
      Bytes.putU16(target, at + 48 + 2 * i, words[i] | (bits >> 4 * i & 15) << 12);
    }
  }
}
