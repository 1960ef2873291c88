package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Finds a scale for sixteen weights, so that levels −1, 0 and 1, shifted by an eighth up or down in each half, come near to
 * {@code x / scale}: the search of ggml's {@code quantize_row_iq1_m_impl} before it looks at the grid. Weights in ascending order are split
 * in three at any two places, for each of four choices of shifts; the first split of the largest gain wins. An instance is for one thread.
 */
final class TernarySearch {
  static final int SIZE = 16;

  /** The shifts of the halves are up, up; up, down; down, up; down, down. */
  private static final int SHIFTS = 4;
  private static final float[] UP = {-1 + Iq1S.SHIFT, Iq1S.SHIFT, 1 + Iq1S.SHIFT};
  private static final float[] DOWN = {-1 - Iq1S.SHIFT, -Iq1S.SHIFT, 1 - Iq1S.SHIFT};

  private final int[] order = new int[SIZE];
  private final float[] sorted = new float[SIZE];
  /** By level, place in the order, and shifts: what a weight adds to the products' sum, and {@code SHIFTS} later to the squares'. */
  private final float[][] terms = new float[3][2 * SHIFTS * SIZE];
  private final float[] before = new float[2 * SHIFTS];
  private final float[] start = new float[2 * SHIFTS];
  private final int[] codes = new int[SIZE];
  private float gain;
  private float scale;
  private int firstSplit;
  private int secondSplit;
  private int shifts;

  /** The levels of an eighth's shift: of the first half or the second for a choice of shifts. */
  static float[] levels(int shifts, int half) {
    return (shifts >> 1 - half & 1) == 0 ? UP : DOWN;
  }

  /** The scale found, positive or zero. */
  float scale() {
    return scale;
  }

  /** The choice of shifts found: the higher bit is set if the first half's is down, the lower one for the second half. */
  int shifts() {
    return shifts;
  }

  /** The levels found, 0 to 2. Not to be changed. */
  int[] codes() {
    return codes;
  }

  /** Searches; returns whether there was anything to gain. */
  boolean search(float[] values, int from, float[] weights) {
    sort(values, from);
    findTerms(values, from, weights);
    gain = -Float.MAX_VALUE;
    shifts = -1;
    Arrays.fill(before, 0);
    for (int first = 0; first <= SIZE; first++) {
      trySplits(first);
      if (first < SIZE) {
        add(before, 0, first);
      }
    }
    if (shifts < 0) {
      return false;
    }
    for (int j = 0; j < SIZE; j++) {
      codes[order[j]] = j < firstSplit ? 0 : j < secondSplit ? 1 : 2;
    }
    if (scale < 0) {
      scale = -scale;
      shifts = SHIFTS - 1 - shifts;
      for (int j = 0; j < SIZE; j++) {
        codes[j] = 2 - codes[j];
      }
    }
    return true;
  }

  /** By insertion: equal values stay in their order, as they do in the reference with glibc. */
  private void sort(float[] values, int from) {
    for (int i = 0; i < SIZE; i++) {
      float x = values[from + i];
      int j = i;
      while (j > 0 && sorted[j - 1] > x) {
        sorted[j] = sorted[j - 1];
        order[j] = order[j - 1];
        j--;
      }
      sorted[j] = x;
      order[j] = i;
    }
  }

  private void findTerms(float[] values, int from, float[] weights) {
    for (int level = 0; level < 3; level++) {
      for (int j = 0; j < SIZE; j++) {
        int i = order[j];
        for (int k = 0; k < SHIFTS; k++) {
          float q = levels(k, i / 8)[level];
          int at = 2 * SHIFTS * j + k;
          terms[level][at] = weights[i] * q * values[from + i];
          terms[level][at + SHIFTS] = weights[i] * q * q;
        }
      }
    }
  }

  private void add(float[] sums, int level, int j) {
    for (int k = 0; k < 2 * SHIFTS; k++) {
      sums[k] += terms[level][2 * SHIFTS * j + k];
    }
  }

  /** Tries every second split after a first one. Each sum is taken from the first weight to the last, as in the reference. */
  private void trySplits(int first) {
    System.arraycopy(before, 0, start, 0, start.length);
    for (int second = first; second <= SIZE; second++) {
      tryRest(first, second);
      if (second < SIZE) {
        add(start, 1, second);
      }
    }
  }

  private void tryRest(int first, int second) {
    float productA = start[0];
    float productB = start[1];
    float productC = start[2];
    float productD = start[3];
    float squareA = start[4];
    float squareB = start[5];
    float squareC = start[6];
    float squareD = start[7];
    float[] rest = terms[2];
    for (int at = 2 * SHIFTS * second; at < 2 * SHIFTS * SIZE; at += 2 * SHIFTS) {
      productA += rest[at];
      productB += rest[at + 1];
      productC += rest[at + 2];
      productD += rest[at + 3];
      squareA += rest[at + 4];
      squareB += rest[at + 5];
      squareC += rest[at + 6];
      squareD += rest[at + 7];
    }
    take(productA, squareA, first, second, 0);
    take(productB, squareB, first, second, 1);
    take(productC, squareC, first, second, 2);
    take(productD, squareD, first, second, 3);
  }

  private void take(float product, float square, int first, int second, int choice) {
    if (square > 0 && product * product > gain * square) {
      scale = product / square;
      gain = scale * product;
      firstSplit = first;
      secondSplit = second;
      shifts = choice;
    }
  }
}
