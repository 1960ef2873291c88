package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Finds a scale for groups of sixteen weights, so that codes from −32 to 31 come near to {@code x / scale}: ggml's {@code make_qx_quants}
 * with squared weights' importance. Nineteen scales about the one that takes the value of largest magnitude to −32 are tried; for each,
 * codes are rounded and the gain of their least-squares scale is found. The first of the largest gains wins.
 *
 * <p>Many groups go side by side in lanes, as in {@link ScaleMinSearch}. An instance is for one thread.
 */
final class ScaleSearch {
  /** The most groups that a search handles at once. Loops over all of them have enough iterations for vector instructions. */
  static final int LANES = 256;

  static final int SIZE = 16;
  /** Groups whose largest magnitude is less become zeros, by ggml's {@code GROUP_MAX_EPS}. */
  static final float LEAST_MAGNITUDE = 1e-15f;

  private static final int LOWEST = -32;
  private static final int TOP = 31;

  /** With fewer groups, one after the other is faster: loops go over all lanes, used or not. */
  private static final int FEWEST_LANES = 80;

  private final float[][] values = new float[SIZE][LANES];
  private final float[] magnitude = new float[LANES];
  private final float[] farthest = new float[LANES];
  private final float[] inverse = new float[LANES];
  private final float[] productSum = new float[LANES];
  private final float[] squareSum = new float[LANES];
  private final float[] bestInverse = new float[LANES];
  private final float[] gain = new float[LANES];
  private final float[] scale = new float[LANES];
  private float[] source;
  private int start;

  /** The scale found for a group; its sign is free. */
  float scale(int group) {
    return scale[group];
  }

  /** Writes the codes that the search found for a group, 32 added: zeros, not codes of zero, for one of zeros. */
  void codes(int group, int[] target, int at) {
    boolean zeros = magnitude[group] < LEAST_MAGNITUDE;
    int from = start + group * SIZE;
    for (int i = 0; i < SIZE; i++) {
      target[at + i] = zeros ? 0 : NearestInt.of(bestInverse[group] * source[from + i], LOWEST, TOP) - LOWEST;
    }
  }

  /** Searches up to {@link #LANES} groups that lie one after the other. */
  void search(float[] source, int from, int groups) {
    this.source = source;
    start = from;
    for (int b = 0; b < groups; b++) {
      findFarthest(b);
    }
    if (groups < FEWEST_LANES) {
      for (int b = 0; b < groups; b++) {
        searchPlainly(b);
      }
    } else {
      searchLanes(groups);
    }
    for (int b = 0; b < groups; b++) {
      if (magnitude[b] < LEAST_MAGNITUDE) {
        scale[b] = 0;
      }
    }
  }

  private void findFarthest(int b) {
    int from = start + b * SIZE;
    float least = source[from];
    float most = source[from];
    for (int i = from + 1; i < from + SIZE; i++) {
      least = Math.min(least, source[i]);
      most = Math.max(most, source[i]);
    }
    magnitude[b] = Math.max(-least, most);
    farthest[b] = most;
    if (-least == most) {
      int i = from;
      while (Math.abs(source[i]) != most) {
        i++;
      }
      farthest[b] = source[i];
    } else if (-least > most) {
      farthest[b] = least;
    }
  }

  private void searchPlainly(int b) {
    bestInverse[b] = LOWEST / farthest[b];
    sumPlainly(b, bestInverse[b]);
    takeFirst(b);
    for (int step = -9; step <= 9; step++) {
      if (step != 0) {
        inverse[b] = end(step) / farthest[b];
        sumPlainly(b, inverse[b]);
        takeBetter(b);
      }
    }
  }

  private void sumPlainly(int b, float inverse) {
    float sumXL = 0;
    float sumLL = 0;
    int from = start + b * SIZE;
    for (int i = from; i < from + SIZE; i++) {
      float x = source[i];
      int l = NearestInt.of(inverse * x, LOWEST, TOP);
      float w = x * x;
      sumXL += w * x * l;
      sumLL += w * l * l;
    }
    productSum[b] = sumXL;
    squareSum[b] = sumLL;
  }

  private void searchLanes(int groups) {
    for (int i = 0; i < SIZE; i++) {
      float[] row = values[i];
      for (int b = 0, at = start + i; b < groups; b++, at += SIZE) {
        row[b] = source[at];
      }
    }
    for (int b = 0; b < LANES; b++) {
      bestInverse[b] = LOWEST / farthest[b];
    }
    sum(bestInverse, false);
    for (int b = 0; b < groups; b++) {
      takeFirst(b);
    }
    for (int step = -9; step <= 9; step++) {
      if (step != 0) {
        tryStep(step, groups);
      }
    }
  }

  private void tryStep(int step, int groups) {
    float end = end(step);
    for (int b = 0; b < LANES; b++) {
      inverse[b] = end / farthest[b];
    }
    // Up to here, the value of largest magnitude itself rounds to the lowest code.
    sum(inverse, step > 4);
    for (int b = 0; b < groups; b++) {
      takeBetter(b);
    }
  }

  /** What the value of largest magnitude is taken to. */
  private static float end(int step) {
    return -(-LOWEST + 0.1f * step);
  }

  private void takeFirst(int b) {
    scale[b] = squareSum[b] != 0 ? productSum[b] / squareSum[b] : 0;
    gain[b] = scale[b] * productSum[b];
  }

  private void takeBetter(int b) {
    if (squareSum[b] > 0 && productSum[b] * productSum[b] > gain[b] * squareSum[b]) {
      scale[b] = productSum[b] / squareSum[b];
      gain[b] = scale[b] * productSum[b];
      bestInverse[b] = inverse[b];
    }
  }

  private void sum(float[] inverse, boolean passesLowest) {
    Arrays.fill(productSum, 0);
    Arrays.fill(squareSum, 0);
    for (int i = 0; i < SIZE; i++) {
      if (passesLowest) {
        addBounded(values[i], inverse, productSum, squareSum);
      } else {
        add(values[i], inverse, productSum, squareSum);
      }
    }
  }

  private static void add(float[] x, float[] inverse, float[] productSum, float[] squareSum) {
    for (int b = 0; b < LANES; b++) {
      float l = Math.min((inverse[b] * x[b] + NearestInt.MAGIC) - NearestInt.MAGIC, TOP);
      float w = x[b] * x[b];
      // In the other order, JDK 17 makes no vector instructions of the loop.
      squareSum[b] += w * l * l;
      productSum[b] += w * x[b] * l;
    }
  }

  private static void addBounded(float[] x, float[] inverse, float[] productSum, float[] squareSum) {
    for (int b = 0; b < LANES; b++) {
      float l = Math.max(Math.min((inverse[b] * x[b] + NearestInt.MAGIC) - NearestInt.MAGIC, TOP), LOWEST);
      float w = x[b] * x[b];
      squareSum[b] += w * l * l;
      productSum[b] += w * x[b] * l;
    }
  }
}
