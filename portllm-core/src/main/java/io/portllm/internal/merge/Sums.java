package io.portllm.internal.merge;

import java.util.Arrays;

/** Weighted sums of changes, element by element: taken in float64 in the order of the patches, and rounded once to float32. */
final class Sums {
  /** Weights up to here times changes and their sums are finite. */
  private static final double MOST = 1e200;

  private Sums() {}

  /** Σ wᵢ·δᵢ. */
  static void all(float[][] values, double[] weights, int count, float[] target, int at) {
    double[] sums = new double[count];
    add(widened(values, count), weights, sums);
    narrow(sums, target, at);
  }

  private static double[][] widened(float[][] values, int count) {
    double[][] wide = new double[values.length][count];
    for (int i = 0; i < values.length; i++) {
      for (int e = 0; e < count; e++) {
        wide[i][e] = values[i][e];
      }
    }
    return wide;
  }

  private static void narrow(double[] sums, float[] target, int at) {
    for (int e = 0; e < sums.length; e++) {
      target[at + e] = (float) sums[e];
    }
  }

  private static void add(double[][] values, double[] weights, double[] sums) {
    for (int i = 0; i < weights.length; i++) {
      addScaled(sums, weights[i], values[i]);
    }
  }

  /**
   * Σ wᵢ·δᵢ over the patches whose vote vᵢ·δᵢ has the sign of the sum of votes; a sum of zero counts as positive. Changes are finite.
   *
   * @param shares what it is divided by the sum of, over the same patches, none negative; zeros to divide by nothing
   */
  static void agreeing(float[][] values, double[] votes, double[] weights, double[] shares, int count, float[] target, int at) {
    double[][] wide = widened(values, count);
    double[] signs = new double[count];
    add(wide, votes, signs);
    double[] sums = new double[count];
    double[] divisors = new double[count];
    if (areSmall(votes) && areSmall(weights)) {
      signs(signs);
      for (int i = 0; i < weights.length; i++) {
        addAgreeing(sums, divisors, wide[i], signs, votes[i], weights[i], shares[i]);
      }
    } else {
      for (int i = 0; i < weights.length; i++) {
        for (int e = 0; e < count; e++) {
          if ((signs[e] < 0 ? -votes[i] : votes[i]) * wide[i][e] > 0) {
            sums[e] += weights[i] * wide[i][e];
            divisors[e] += shares[i];
          }
        }
      }
    }
    divide(sums, divisors);
    narrow(sums, target, at);
  }

  private static boolean areSmall(double[] weights) {
    return Arrays.stream(weights).allMatch(weight -> Math.abs(weight) < MOST);
  }

  // JIT compilers make vector instructions of the loops below. Conditions are numbers in them, 1 or 0: signs of changes are as good as
  // chance, and branches on them would be mispredicted. The sum of something and a zero is that something, since no sum is a negative zero.

  private static void addScaled(double[] sums, double weight, double[] values) {
    for (int e = 0; e < sums.length; e++) {
      sums[e] += weight * values[e];
    }
  }

  /** 1 for a number above zero, else 0. */
  private static double isPositive(double value) {
    return Math.ceil(Math.min(Math.max(value, 0), 1));
  }

  /** Replaces each number by its sign, -1 or 1. */
  private static void signs(double[] values) {
    for (int e = 0; e < values.length; e++) {
      values[e] = 1 - 2 * isPositive(-values[e]);
    }
  }

  private static void addAgreeing(
      double[] sums, double[] divisors, double[] values, double[] signs, double vote, double weight, double share) {
    for (int e = 0; e < sums.length; e++) {
      double agrees = isPositive(vote * values[e] * signs[e]);
      sums[e] += agrees * (weight * values[e]);
      divisors[e] += agrees * share;
    }
  }

  /** Divides where there is something to divide by. */
  private static void divide(double[] sums, double[] divisors) {
    for (int e = 0; e < sums.length; e++) {
      sums[e] /= divisors[e] + (1 - isPositive(divisors[e]));
    }
  }
}
