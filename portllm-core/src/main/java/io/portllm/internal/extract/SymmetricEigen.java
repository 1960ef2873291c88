package io.portllm.internal.extract;

import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The eigenvalues and eigenvectors of a symmetric matrix in float64: reflections to a tridiagonal matrix (Householder, 1958), and the
 * implicit QL algorithm with shifts on that (Dubrulle, Martin and Wilkinson, 1968). Takes some 10·n³ operations, where Jacobi rotations
 * take ten times as many.
 *
 * @param values greatest first
 * @param vectors in the same order
 */
record SymmetricEigen(double[] values, double[][] vectors) {
  /** Each value takes two iterations on average; this many are never needed. */
  private static final int MOST_ITERATIONS = 60;

  /**
   * Decomposes a matrix.
   *
   * @param matrix its rows; overwritten
   * @param count how many eigenvectors are wanted
   */
  static SymmetricEigen of(double[][] matrix, int count) {
    int n = matrix.length;
    double[] diagonal = new double[n];
    double[] beside = new double[n];
    double[][] mirrors = tridiagonalise(matrix, diagonal, beside);
    double[][] turned = new double[n][n];
    for (int i = 0; i < n; i++) {
      turned[i][i] = 1;
    }
    for (int i = 0; i < n; i++) {
      isolate(i, diagonal, beside, turned);
    }
    int[] order =
        IntStream.range(0, n).boxed().sorted(Comparator.comparingDouble((Integer i) -> -diagonal[i])).mapToInt(Integer::intValue).toArray();
    double[] values = new double[n];
    double[][] vectors = new double[count][];
    for (int k = 0; k < n; k++) {
      values[k] = diagonal[order[k]];
      if (k < count) {
        vectors[k] = turned[order[k]];
        for (int m = mirrors.length - 1; m >= 0; m--) {
          mirror(mirrors[m], vectors[k], m + 1);
        }
      }
    }
    return new SymmetricEigen(values, vectors);
  }

  /** Reflects what is beside the diagonal of one column after the other onto its first element; returns the mirrors, each of length √2. */
  private static double[][] tridiagonalise(double[][] matrix, double[] diagonal, double[] beside) {
    int n = matrix.length;
    double[][] mirrors = new double[Math.max(0, n - 2)][];
    for (int k = 0; k < n - 2; k++) {
      int first = k + 1;
      int length = n - first;
      double[] mirror = new double[length];
      System.arraycopy(matrix[k], first, mirror, 0, length);
      double norm = Math.sqrt(Vectors.dot(mirror, 0, mirror, 0, length));
      diagonal[k] = matrix[k][k];
      beside[k] = mirror[0] > 0 ? -norm : norm;
      mirror[0] -= beside[k];
      double own = Math.sqrt(Vectors.dot(mirror, 0, mirror, 0, length) / 2);
      for (int i = 0; i < length; i++) {
        mirror[i] = own == 0 ? 0 : mirror[i] / own;
      }
      mirrors[k] = mirror;
      double[] product = new double[length];
      for (int i = 0; i < length; i++) {
        product[i] = Vectors.dot(matrix[first + i], first, mirror, 0, length);
      }
      Vectors.add(product, 0, -Vectors.dot(product, 0, mirror, 0, length) / 2, mirror, 0, length);
      for (int i = 0; i < length; i++) {
        Vectors.add(matrix[first + i], first, -mirror[i], product, 0, length);
        Vectors.add(matrix[first + i], first, -product[i], mirror, 0, length);
      }
    }
    for (int k = Math.max(0, n - 2); k < n; k++) {
      diagonal[k] = matrix[k][k];
    }
    if (n > 1) {
      beside[n - 2] = matrix[n - 2][n - 1];
    }
    return mirrors;
  }

  private static void mirror(double[] mirror, double[] vector, int from) {
    Vectors.add(vector, from, -Vectors.dot(vector, from, mirror, 0, mirror.length), mirror, 0, mirror.length);
  }

  /** Rotates until the value at {@code first} has nothing beside it. */
  private static void isolate(int first, double[] diagonal, double[] beside, double[][] turned) {
    for (int iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
      int last = first;
      while (last < diagonal.length - 1
          && Math.abs(beside[last]) > Math.ulp(1.0) * (Math.abs(diagonal[last]) + Math.abs(diagonal[last + 1]))) {
        last++;
      }
      if (last == first) {
        return;
      }
      double half = (diagonal[first + 1] - diagonal[first]) / (2 * beside[first]);
      double shifted = diagonal[last] - diagonal[first] + beside[first] / (half + Math.copySign(Math.hypot(half, 1), half));
      sweep(first, last, shifted, diagonal, beside, turned);
    }
  }

  /** Chases the element that a shifted rotation puts beside the tridiagonal from the last row up to the first. */
  private static void sweep(int first, int last, double shifted, double[] diagonal, double[] beside, double[][] turned) {
    double sine = 1;
    double cosine = 1;
    double moved = 0;
    double bulge = shifted;
    for (int i = last - 1; i >= first; i--) {
      double across = sine * beside[i];
      double along = cosine * beside[i];
      double length = Math.hypot(across, bulge);
      beside[i + 1] = length;
      if (length == 0) {
        diagonal[i + 1] -= moved;
        beside[last] = 0;
        return;
      }
      sine = across / length;
      cosine = bulge / length;
      double value = diagonal[i + 1] - moved;
      double change = (diagonal[i] - value) * sine + 2 * cosine * along;
      moved = sine * change;
      diagonal[i + 1] = value + moved;
      bulge = cosine * change - along;
      rotate(turned[i], turned[i + 1], cosine, sine);
    }
    diagonal[first] -= moved;
    beside[first] = bulge;
    beside[last] = 0;
  }

  private static void rotate(double[] low, double[] high, double cosine, double sine) {
    for (int k = 0; k < low.length; k++) {
      double old = high[k];
      high[k] = sine * low[k] + cosine * old;
      low[k] = cosine * low[k] - sine * old;
    }
  }
}
