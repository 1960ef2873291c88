package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Finds a scale for a group of sixteen weights, so that codes from −4 to 3 come near to {@code x / scale}: ggml's {@code make_q3_quants}.
 * Codes begin with the scale that takes the value of largest magnitude to −4; then each in turn is set to the best for the scale that fits
 * the others, where that gains anything, up to five times round. An instance is for one thread.
 */
final class ThreeBitSearch {
  static final int SIZE = 16;

  private static final float LEAST_MAGNITUDE = 1e-15f;
  private static final int LOWEST = -4;
  private static final int TOP = 3;
  private static final int ROUNDS = 5;

  private final float[] products = new float[SIZE];
  private final float[] squares = new float[SIZE];
  private float productSum;
  private float squareSum;

  /** Writes the codes found, 4 added: zeros, not codes of zero, for a group of zeros. Returns the scale, whose sign is free. */
  float search(float[] values, int from, int[] codes, int at) {
    float farthest = 0;
    float magnitude = 0;
    for (int i = from; i < from + SIZE; i++) {
      if (Math.abs(values[i]) > magnitude) {
        magnitude = Math.abs(values[i]);
        farthest = values[i];
      }
    }
    if (magnitude < LEAST_MAGNITUDE) {
      Arrays.fill(codes, at, at + SIZE, 0);
      return 0;
    }
    start(values, from, LOWEST / farthest, codes, at);
    int round = 0;
    while (round < ROUNDS && improve(values, from, codes, at)) {
      round++;
    }
    for (int i = at; i < at + SIZE; i++) {
      codes[i] -= LOWEST;
    }
    return squareSum > 0 ? productSum / squareSum : 0;
  }

  private void start(float[] values, int from, float inverse, int[] codes, int at) {
    float sumXL = 0;
    float sumLL = 0;
    for (int i = 0; i < SIZE; i++) {
      float x = values[from + i];
      int l = NearestInt.of(inverse * x, LOWEST, TOP);
      codes[at + i] = l;
      squares[i] = x * x;
      products[i] = squares[i] * x;
      sumXL += products[i] * l;
      sumLL += squares[i] * l * l;
    }
    productSum = sumXL;
    squareSum = sumLL;
  }

  private boolean improve(float[] values, int from, int[] codes, int at) {
    boolean changed = false;
    float sumXL = productSum;
    float sumLL = squareSum;
    for (int i = 0; i < SIZE; i++) {
      int old = codes[at + i];
      float otherXL = sumXL - products[i] * old;
      if (!(otherXL > 0)) {
        continue;
      }
      float otherLL = sumLL - squares[i] * old * old;
      int l = NearestInt.of(values[from + i] * otherLL / otherXL, LOWEST, TOP);
      if (l == old) {
        continue;
      }
      otherXL += products[i] * l;
      otherLL += squares[i] * l * l;
      if (otherLL > 0 && otherXL * otherXL * sumLL > sumXL * sumXL * otherLL) {
        codes[at + i] = l;
        sumXL = otherXL;
        sumLL = otherLL;
        changed = true;
      }
    }
    productSum = sumXL;
    squareSum = sumLL;
    return changed;
  }
}
