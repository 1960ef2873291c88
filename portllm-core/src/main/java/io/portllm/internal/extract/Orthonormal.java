package io.portllm.internal.extract;

import java.util.Arrays;

/**
 * Orthonormal bases by the modified Gram-Schmidt process, run twice over each vector, which makes them orthogonal to float64's precision
 * (Giraud, Langou and Rozložník, 2005).
 */
final class Orthonormal {
  /** A vector of which no more than this part is left, relative to the longest, lies in the span of those before it. */
  private static final double NOTHING = 1e-14;

  private Orthonormal() {}

  /**
   * Makes vectors orthonormal in place. Those that lie in the span of the vectors before them are left out, and the rest move up.
   *
   * @param vectors {@code count} vectors of {@code length} values, one after the other
   * @param coefficients of count × count values, or null; receives in column j what of each kept vector the old vector j consists
   * @return how many are kept
   */
  static int orthonormalise(double[] vectors, int count, int length, double[] coefficients) {
    double longest = 0;
    for (int j = 0; j < count; j++) {
      longest = Math.max(longest, Vectors.dot(vectors, j * length, vectors, j * length, length));
    }
    longest = Math.sqrt(longest);
    int kept = 0;
    for (int j = 0; j < count; j++) {
      int at = kept * length;
      System.arraycopy(vectors, j * length, vectors, at, length);
      for (int pass = 0; pass < 2; pass++) {
        for (int k = 0; k < kept; k++) {
          double part = Vectors.dot(vectors, k * length, vectors, at, length);
          Vectors.add(vectors, at, -part, vectors, k * length, length);
          if (coefficients != null) {
            coefficients[k * count + j] += part;
          }
        }
      }
      double rest = Math.sqrt(Vectors.dot(vectors, at, vectors, at, length));
      if (rest > NOTHING * longest) {
        for (int i = at; i < at + length; i++) {
          vectors[i] /= rest;
        }
        if (coefficients != null) {
          coefficients[kept * count + j] = rest;
        }
        kept++;
      }
    }
    Arrays.fill(vectors, kept * length, count * length, 0);
    return kept;
  }
}
