package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Finds a scale and a minimum for groups of weights, so that a group's codes from 0 on come near to {@code (x − minimum) / scale}: ggml's
 * {@code make_qkx2_quants}. Several steps are tried; for each, codes are rounded, the least-squares scale and minimum of these codes
 * are found and the error is summed. The first of the least errors wins.
 *
 * <p>ggml handles one group after the other, and its sums depend on the order of a group's elements. Here many groups go side by side, one
 * in each lane of rows that hold the groups' first elements, second elements and so on: each lane's sums are in ggml's order, and loops
 * over lanes can run as vector instructions. Lanes beyond the last group hold what was there before. An instance is for one thread.
 */
final class ScaleMinSearch {
  /** The most groups that a search handles at once. Loops over all of them have enough iterations for vector instructions. */
  static final int LANES = 256;

  /** With fewer groups, one after the other is faster: loops go over all lanes, used or not. */
  private static final int FEWEST_LANES = 80;

  /** What a search does: the size of a group, the highest code, the steps from which scales are tried, and how an error is measured. */
  record Plan(int size, int top, float firstStep, float step, int steps, boolean absoluteErrors) {}

  /** Below this, the reciprocal of a range may be infinite, and codes before rounding more than floats can round by addition. */
  private static final float LEAST_RANGE = 1e-36f;

  /** A new minimum can make the range smaller, but not so that 33 / 2^-16, the largest code before rounding, gets near to 2^22. */
  private static final float SHARE_OF_RANGE = 0x1p-16f;

  private final Plan plan;
  private final PlainScaleMinSearch plain;
  private final float[][] values;
  private final float[][] weights;
  private final float[][] codes;
  private final float[] most = new float[LANES];
  private final float[] leastRange = new float[LANES];
  private final float[] least = new float[LANES];
  private final float[] range = new float[LANES];
  private final float[] weightSum = new float[LANES];
  private final float[] valueSum = new float[LANES];
  private final float[] inverse = new float[LANES];
  private final float[] codeSum = new float[LANES];
  private final float[] squareSum = new float[LANES];
  private final float[] productSum = new float[LANES];
  private final float[] determinant = new float[LANES];
  private final float[] triedScale = new float[LANES];
  private final float[] triedMinimum = new float[LANES];
  private final float[] error = new float[LANES];
  private final float[] leastError = new float[LANES];
  private final float[] bestInverse = new float[LANES];
  private final float[] bestLeast = new float[LANES];
  private final float[] scale = new float[LANES];
  private final boolean[] isPlain = new boolean[LANES];
  private float[] source;
  private int start;

  ScaleMinSearch(Plan plan) {
    this.plan = plan;
    plain = new PlainScaleMinSearch(plan);
    values = new float[plan.size()][LANES];
    weights = new float[plan.size()][LANES];
    codes = new float[plan.size()][LANES];
  }

  /** The scale found for a group. */
  float scale(int group) {
    return scale[group];
  }

  /** What is to be subtracted from the scaled codes of a group: the minimum found, negated. */
  float offset(int group) {
    return -least[group];
  }

  /** Writes the codes that the search found for a group. */
  void codes(int group, int[] target, int at) {
    int from = start + group * plan.size();
    if (isPlain[group]) {
      plain.search(source, from);
      plain.codes(target, at);
      return;
    }
    for (int i = 0; i < plan.size(); i++) {
      target[at + i] = NearestInt.of(bestInverse[group] * (source[from + i] - bestLeast[group]), 0, plan.top());
    }
  }

  /** Searches up to {@link #LANES} groups that lie one after the other. */
  void search(float[] source, int from, int groups) {
    this.source = source;
    start = from;
    if (groups < FEWEST_LANES) {
      Arrays.fill(isPlain, true);
    } else {
      searchLanes(groups);
    }
    for (int b = 0; b < groups; b++) {
      if (isPlain[b]) {
        plain.search(source, from + b * plan.size());
        scale[b] = plain.scale();
        least[b] = plain.minimum();
      }
    }
  }

  private void searchLanes(int groups) {
    gather(source, start, groups);
    bounds();
    tryInitial();
    for (int i = 0; i <= plan.steps(); i++) {
      tryStep(plan.firstStep() + plan.step() * i + plan.top());
    }
  }

  private void gather(float[] source, int from, int groups) {
    int size = plan.size();
    for (int i = 0; i < size; i++) {
      float[] row = values[i];
      for (int b = 0, at = from + i; b < groups; b++, at += size) {
        row[b] = source[at];
      }
    }
    if (plan.absoluteErrors()) {
      for (int i = 0; i < size; i++) {
        magnitudes(values[i], weights[i]);
      }
    } else {
      float[] squares = error;
      Arrays.fill(squares, 0);
      for (int i = 0; i < size; i++) {
        addSquares(values[i], squares);
      }
      for (int b = 0; b < LANES; b++) {
        squares[b] = (float) Math.sqrt(squares[b] / size);
      }
      for (int i = 0; i < size; i++) {
        magnitudesAbove(values[i], squares, weights[i]);
      }
    }
  }

  private static void magnitudes(float[] x, float[] w) {
    for (int b = 0; b < LANES; b++) {
      w[b] = Math.abs(x[b]);
    }
  }

  private static void magnitudesAbove(float[] x, float[] base, float[] w) {
    for (int b = 0; b < LANES; b++) {
      w[b] = base[b] + Math.abs(x[b]);
    }
  }

  private static void addSquares(float[] x, float[] sums) {
    for (int b = 0; b < LANES; b++) {
      sums[b] += x[b] * x[b];
    }
  }

  private void bounds() {
    System.arraycopy(values[0], 0, least, 0, LANES);
    System.arraycopy(values[0], 0, most, 0, LANES);
    System.arraycopy(weights[0], 0, weightSum, 0, LANES);
    for (int b = 0; b < LANES; b++) {
      valueSum[b] = weights[0][b] * values[0][b];
    }
    for (int i = 1; i < plan.size(); i++) {
      addBounds(values[i], weights[i], least, most, weightSum, valueSum);
    }
    for (int b = 0; b < LANES; b++) {
      least[b] = Math.min(least[b], 0);
      range[b] = most[b] - least[b];
      leastRange[b] = Math.max(LEAST_RANGE, range[b] * SHARE_OF_RANGE);
      isPlain[b] = !(range[b] >= LEAST_RANGE && range[b] <= Float.MAX_VALUE);
    }
  }

  private static void addBounds(float[] x, float[] w, float[] least, float[] most, float[] weightSum, float[] valueSum) {
    for (int b = 0; b < LANES; b++) {
      least[b] = Math.min(least[b], x[b]);
      most[b] = Math.max(most[b], x[b]);
      weightSum[b] += w[b];
      valueSum[b] += w[b] * x[b];
    }
  }

  private void tryInitial() {
    for (int b = 0; b < LANES; b++) {
      bestInverse[b] = plan.top() / range[b];
      bestLeast[b] = least[b];
      scale[b] = 1 / bestInverse[b];
    }
    sum(false, bestInverse);
    sumErrors(scale, least, leastError);
  }

  private void tryStep(float steps) {
    for (int b = 0; b < LANES; b++) {
      inverse[b] = steps / range[b];
    }
    sum(steps > plan.top() + 0.25f, inverse);
    fit();
    sumErrors(triedScale, triedMinimum, error);
    for (int b = 0; b < LANES; b++) {
      if (determinant[b] > 0 && error[b] < leastError[b]) {
        take(b);
      }
    }
  }

  /** Takes what was tried for a group. ggml tries the further scales with the new minimum, too. */
  private void take(int b) {
    leastError[b] = error[b];
    scale[b] = triedScale[b];
    bestInverse[b] = inverse[b];
    bestLeast[b] = least[b];
    least[b] = triedMinimum[b];
    range[b] = most[b] - least[b];
    isPlain[b] |= !(range[b] >= leastRange[b] && range[b] <= Float.MAX_VALUE);
  }

  private void sum(boolean passesTop, float[] inverse) {
    Arrays.fill(codeSum, 0);
    Arrays.fill(squareSum, 0);
    Arrays.fill(productSum, 0);
    for (int i = 0; i < plan.size(); i++) {
      if (passesTop) {
        roundCapAndSum(plan.top(), values[i], weights[i], least, inverse, codes[i], codeSum, squareSum, productSum);
      } else {
        roundAndSum(values[i], weights[i], least, inverse, codes[i], codeSum, squareSum, productSum);
      }
    }
  }

  private static void roundAndSum(
      float[] x, float[] w, float[] least, float[] inverse, float[] code, float[] sumL, float[] sumLL, float[] sumXL) {
    for (int b = 0; b < LANES; b++) {
      float l = Math.max((inverse[b] * (x[b] - least[b]) + NearestInt.MAGIC) - NearestInt.MAGIC, 0);
      float wl = w[b] * l;
      code[b] = l;
      sumL[b] += wl;
      sumLL[b] += wl * l;
      sumXL[b] += wl * x[b];
    }
  }

  private static void roundCapAndSum(
      float cap, float[] x, float[] w, float[] least, float[] inverse, float[] code, float[] sumL, float[] sumLL, float[] sumXL) {
    for (int b = 0; b < LANES; b++) {
      float r = (inverse[b] * (x[b] - least[b]) + NearestInt.MAGIC) - NearestInt.MAGIC;
      float l = Math.max(Math.min(r, cap), 0);
      float wl = w[b] * l;
      code[b] = l;
      sumL[b] += wl;
      sumLL[b] += wl * l;
      sumXL[b] += wl * x[b];
    }
  }

  private void fit() {
    solve(weightSum, valueSum, codeSum, squareSum, productSum, determinant, triedScale, triedMinimum);
    for (int b = 0; b < LANES; b++) {
      if (triedMinimum[b] > 0) {
        triedMinimum[b] = 0;
        triedScale[b] = productSum[b] / squareSum[b];
      }
    }
  }

  private static void solve(
      float[] sw, float[] sx, float[] sl, float[] sll, float[] sxl, float[] determinant, float[] scale, float[] minimum) {
    for (int b = 0; b < LANES; b++) {
      float d = sw[b] * sll[b] - sl[b] * sl[b];
      determinant[b] = d;
      scale[b] = (sw[b] * sxl[b] - sx[b] * sl[b]) / d;
      minimum[b] = (sll[b] * sx[b] - sl[b] * sxl[b]) / d;
    }
  }

  private void sumErrors(float[] scale, float[] minimum, float[] error) {
    Arrays.fill(error, 0);
    for (int i = 0; i < plan.size(); i++) {
      if (plan.absoluteErrors()) {
        addErrors(values[i], weights[i], codes[i], scale, minimum, error);
      } else {
        addSquaredErrors(values[i], weights[i], codes[i], scale, minimum, error);
      }
    }
  }

  private static void addErrors(float[] x, float[] w, float[] code, float[] scale, float[] minimum, float[] error) {
    for (int b = 0; b < LANES; b++) {
      error[b] += w[b] * Math.abs(scale[b] * code[b] + minimum[b] - x[b]);
    }
  }

  private static void addSquaredErrors(float[] x, float[] w, float[] code, float[] scale, float[] minimum, float[] error) {
    for (int b = 0; b < LANES; b++) {
      float difference = scale[b] * code[b] + minimum[b] - x[b];
      error[b] += w[b] * (difference * difference);
    }
  }
}
