package io.portllm.internal.extract;

/**
 * Sums of products in float64 over parts of arrays, in one fixed order each, so that they give the same bits whoever calls them.
 */
final class Vectors {
  private Vectors() {}

  /** The inner product of two runs of {@code length} values. */
  static double dot(double[] one, int from, double[] other, int otherFrom, int length) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int i = 0;
    // One sum would wait for each addition; four go on side by side.
    for (; i + 4 <= length; i += 4) {
      s0 += one[from + i] * other[otherFrom + i];
      s1 += one[from + i + 1] * other[otherFrom + i + 1];
      s2 += one[from + i + 2] * other[otherFrom + i + 2];
      s3 += one[from + i + 3] * other[otherFrom + i + 3];
    }
    for (; i < length; i++) {
      s0 += one[from + i] * other[otherFrom + i];
    }
    return (s0 + s1) + (s2 + s3);
  }

  /** Adds {@code factor} times a run of {@code length} values to another. */
  static void add(double[] target, int at, double factor, double[] source, int from, int length) {
    for (int i = 0; i < length; i++) {
      target[at + i] += factor * source[from + i];
    }
  }

  /**
   * Adds a linear combination of {@code count} runs, which begin {@code stride} apart, to a run of {@code length} values.
   *
   * @param factors their factors, from index {@code factor} on, {@code step} apart
   */
  static void addAll(
      double[] target, int at, int length, double[] factors, int factor, int step, double[] source, int from, int stride, int count) {
    int k = 0;
    for (; k + 8 <= count; k += 8) {
      addEight(target, at, length, factors, factor + k * step, step, source, from + k * stride, stride);
    }
    for (; k < count; k++) {
      add(target, at, factors[factor + k * step], source, from + k * stride, length);
    }
  }

  /** Eight runs at a time save loads and stores of the target. */
  private static void addEight(
      double[] target, int at, int length, double[] factors, int factor, int step, double[] source, int from, int stride) {
    double a = factors[factor];
    double b = factors[factor + step];
    double c = factors[factor + 2 * step];
    double d = factors[factor + 3 * step];
    double e = factors[factor + 4 * step];
    double f = factors[factor + 5 * step];
    double g = factors[factor + 6 * step];
    double h = factors[factor + 7 * step];
    int f1 = from + stride;
    int f2 = f1 + stride;
    int f3 = f2 + stride;
    int f4 = f3 + stride;
    int f5 = f4 + stride;
    int f6 = f5 + stride;
    int f7 = f6 + stride;
    for (int i = 0; i < length; i++) {
      target[at + i] +=
          a * source[from + i] + b * source[f1 + i] + c * source[f2 + i] + d * source[f3 + i]
              + (e * source[f4 + i] + f * source[f5 + i] + g * source[f6 + i] + h * source[f7 + i]);
    }
  }

  /**
   * Adds a linear combination of {@code count} arrays to another, in the order of {@link #addAll}. Arrays with one index in common are what
   * JIT compilers make vector instructions for.
   *
   * @param factors their factors, from index {@code factor} on, {@code step} apart
   */
  static void addRows(double[] target, int length, double[] factors, int factor, int step, double[][] source, int count) {
    int k = 0;
    for (; k + 8 <= count; k += 8) {
      addEight(target, length, factors, factor + k * step, step, source, k);
    }
    for (; k < count; k++) {
      double a = factors[factor + k * step];
      double[] row = source[k];
      for (int i = 0; i < length; i++) {
        target[i] += a * row[i];
      }
    }
  }

  private static void addEight(double[] target, int length, double[] factors, int factor, int step, double[][] source, int first) {
    double a = factors[factor];
    double b = factors[factor + step];
    double c = factors[factor + 2 * step];
    double d = factors[factor + 3 * step];
    double e = factors[factor + 4 * step];
    double f = factors[factor + 5 * step];
    double g = factors[factor + 6 * step];
    double h = factors[factor + 7 * step];
    double[] r0 = source[first];
    double[] r1 = source[first + 1];
    double[] r2 = source[first + 2];
    double[] r3 = source[first + 3];
    double[] r4 = source[first + 4];
    double[] r5 = source[first + 5];
    double[] r6 = source[first + 6];
    double[] r7 = source[first + 7];
    for (int i = 0; i < length; i++) {
      target[i] += a * r0[i] + b * r1[i] + c * r2[i] + d * r3[i] + (e * r4[i] + f * r5[i] + g * r6[i] + h * r7[i]);
    }
  }
}
