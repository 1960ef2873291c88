package io.portllm.io.internal.adapter.kind;

/** Small square matrices in float64, row-major. */
final class Squares {
  private Squares() {}

  /** {@code x·y}. */
  static double[] product(double[] x, double[] y, int n) {
    double[] product = new double[n * n];
    for (int i = 0; i < n; i++) {
      for (int k = 0; k < n; k++) {
        double factor = x[i * n + k];
        for (int j = 0; j < n; j++) {
          product[i * n + j] += factor * y[k * n + j];
        }
      }
    }
    return product;
  }

  /** Adds {@code factor·y} to {@code target}. */
  static void addMultiple(double[] target, double factor, double[] y) {
    for (int i = 0; i < target.length; i++) {
      target[i] += factor * y[i];
    }
  }

  /**
   * The Cayley transform {@code (I − Q)·(I + Q)⁻¹} of a skew matrix, less I. {@code I + Q} has no eigenvalue smaller than 1, so the
   * elimination always has a pivot.
   */
  static double[] cayleyLessIdentity(double[] skew, int n) {
    // Q commutes with the inverse, so that the transform less I is the solution X of (I + Q)·X = −2Q.
    double[] left = skew.clone();
    double[] right = new double[n * n];
    addMultiple(right, -2, skew);
    for (int i = 0; i < n; i++) {
      left[i * n + i] += 1;
    }
    for (int column = 0; column < n; column++) {
      int pivot = column;
      for (int i = column + 1; i < n; i++) {
        if (Math.abs(left[i * n + column]) > Math.abs(left[pivot * n + column])) {
          pivot = i;
        }
      }
      swapRows(left, pivot, column, n);
      swapRows(right, pivot, column, n);
      for (int i = 0; i < n; i++) {
        double factor = left[i * n + column] / left[column * n + column];
        if (i != column && factor != 0) {
          for (int j = column; j < n; j++) {
            left[i * n + j] -= factor * left[column * n + j];
          }
          for (int j = 0; j < n; j++) {
            right[i * n + j] -= factor * right[column * n + j];
          }
        }
      }
    }
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        right[i * n + j] /= left[i * n + i];
      }
    }
    return right;
  }

  private static void swapRows(double[] matrix, int one, int other, int n) {
    for (int j = 0; one != other && j < n; j++) {
      double value = matrix[one * n + j];
      matrix[one * n + j] = matrix[other * n + j];
      matrix[other * n + j] = value;
    }
  }
}
