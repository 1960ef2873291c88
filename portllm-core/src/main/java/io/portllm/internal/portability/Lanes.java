package io.portllm.internal.portability;

import java.util.Arrays;

/**
 * A sum of float64 terms that come in pieces of up to {@value #COUNT}: term i of a piece is added to lane i, and lanes are added in one
 * order at the end. Loops over arrays at one index are what every JDK's compiler makes vectors of; the order makes the sum the same
 * with and without them.
 */
final class Lanes {
  /** The most terms in a piece. */
  static final int COUNT = 256;

  private final double[] sums = new double[COUNT];
  private int used;

  /** Adds {@code x[i] · y[i]} for the first {@code count} elements. */
  void add(double[] x, double[] y, int count) {
    used = Math.max(used, count);
    add(sums, x, y, count);
  }

  /** Adds the first {@code count} elements. */
  void add(double[] x, int count) {
    used = Math.max(used, count);
    addAll(sums, x, count);
  }

  /** Adds the magnitudes of the first {@code count} elements. */
  void addMagnitudes(double[] x, int count) {
    used = Math.max(used, count);
    addMagnitudes(sums, x, count);
  }

  private static void addAll(double[] sums, double[] x, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += x[i];
    }
  }

  private static void addMagnitudes(double[] sums, double[] x, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += Math.abs(x[i]);
    }
  }

  private static void add(double[] sums, double[] x, double[] y, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += x[i] * y[i];
    }
  }

  /** The sum, which then is zero again. */
  double take() {
    double sum0 = 0;
    double sum1 = 0;
    double sum2 = 0;
    double sum3 = 0;
    for (int i = 0; i < used; i += 4) {
      sum0 += sums[i];
      sum1 += sums[i + 1];
      sum2 += sums[i + 2];
      sum3 += sums[i + 3];
    }
    Arrays.fill(sums, 0, used, 0);
    used = 0;
    return (sum0 + sum1) + (sum2 + sum3);
  }
}
