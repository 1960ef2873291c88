package io.portllm.internal.quant;

/**
 * Finds a scale for 32 weights, so that {@link NonLinear} levels come near to {@code x / scale}: the search of ggml's
 * {@code quantize_row_iq4_nl_impl}. Sixteen scales about the one that takes the value of largest magnitude to the lowest level are tried;
 * for each, levels are chosen and the gain of their least-squares scale is found. The first of the largest gains wins. An instance is for
 * one thread.
 */
final class NonLinearSearch {
  static final int SIZE = 32;

  /** Groups whose largest magnitude is less become zeros, by ggml's {@code GROUP_MAX_EPS}. */
  private static final float LEAST_MAGNITUDE = 1e-15f;

  private static final int LOWEST = NonLinear.level(0);
  private static final int STEPS = 7;
  private static final int TRIALS = 2 * STEPS + 2;
  /** Trials that go side by side: their sums do not wait for each other. */
  private static final int ABREAST = 4;

  /** Half levels from the first cell to zero: the value of largest magnitude is taken to 134 at most, on either side. */
  private static final int ZERO_CELL = 272;

  /** The level of values from {@code (cell − ZERO_CELL) / 2} to the next cell: levels change at halves of whole numbers only. */
  private static final float[] LEVELS = new float[2 * ZERO_CELL];

  static {
    for (int cell = 0; cell < LEVELS.length; cell++) {
      LEVELS[cell] = NonLinear.level(NonLinear.code((cell - ZERO_CELL) * 0.5f));
    }
  }

  private final float[] weights = new float[SIZE];
  private final float[] inverses = new float[TRIALS];
  private final float[] products = new float[TRIALS];
  private final float[] squares = new float[TRIALS];

  /** The scale found for a group; its sign is free. */
  float search(float[] values, int from) {
    float farthest = 0;
    float magnitude = 0;
    for (int j = 0; j < SIZE; j++) {
      float x = values[from + j];
      weights[j] = x * x;
      if (Math.abs(x) > magnitude) {
        magnitude = Math.abs(x);
        farthest = x;
      }
    }
    if (magnitude < LEAST_MAGNITUDE) {
      return 0;
    }
    inverses[0] = 1 / (-farthest / LOWEST);
    for (int step = -STEPS; step <= STEPS; step++) {
      inverses[STEPS + 1 + step] = (step + LOWEST) / farthest;
    }
    for (int trial = 0; trial < TRIALS; trial += ABREAST) {
      sum(values, from, trial);
    }
    float scale = squares[0] > 0 ? products[0] / squares[0] : 0;
    float gain = scale * products[0];
    for (int trial = 1; trial < TRIALS; trial++) {
      if (squares[trial] > 0 && products[trial] * products[trial] > gain * squares[trial]) {
        scale = products[trial] / squares[trial];
        gain = scale * products[trial];
      }
    }
    return scale;
  }

  private void sum(float[] values, int from, int trial) {
    // Doubled, which is exact: cells are halves.
    float inverseA = 2 * inverses[trial];
    float inverseB = 2 * inverses[trial + 1];
    float inverseC = 2 * inverses[trial + 2];
    float inverseD = 2 * inverses[trial + 3];
    float productA = 0;
    float productB = 0;
    float productC = 0;
    float productD = 0;
    float squareA = 0;
    float squareB = 0;
    float squareC = 0;
    float squareD = 0;
    for (int j = 0; j < SIZE; j++) {
      float x = values[from + j];
      float w = weights[j];
      float a = level(inverseA * x);
      float b = level(inverseB * x);
      float c = level(inverseC * x);
      float d = level(inverseD * x);
      productA += w * a * x;
      squareA += w * a * a;
      productB += w * b * x;
      squareB += w * b * b;
      productC += w * c * x;
      squareC += w * c * c;
      productD += w * d * x;
      squareD += w * d * d;
    }
    products[trial] = productA;
    squares[trial] = squareA;
    products[trial + 1] = productB;
    squares[trial + 1] = squareB;
    products[trial + 2] = productC;
    squares[trial + 2] = squareC;
    products[trial + 3] = productD;
    squares[trial + 3] = squareD;
  }

  /** In float64 the sum is exact, or as far from a cell's end as the value is from zero. */
  static float level(float halves) {
    return LEVELS[(int) ((double) halves + ZERO_CELL)];
  }
}
