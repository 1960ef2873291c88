package io.portllm.internal.merge;

import java.util.Arrays;

/**
 * Decompositions of matrices with few columns, in float64. A matrix is an array of its columns.
 */
final class SmallMatrices {
  private static final int SWEEPS = 60;

  private SmallMatrices() {}

  /**
   * Q·R of one matrix: Q's columns are orthonormal, or zero where a column depends on those before it.
   *
   * @param q as many columns as the matrix
   * @param r square, upper triangular: {@code r[j][i]} is how much of q's column i is in column j
   */
  record Qr(double[][] q, double[][] r) {
    /** By Gram and Schmidt, each column twice so that rounding leaves it orthogonal. */
    static Qr of(double[][] columns) {
      int n = columns.length;
      double[][] q = new double[n][];
      double[][] r = new double[n][n];
      for (int j = 0; j < n; j++) {
        double[] column = columns[j].clone();
        double before = norm(column);
        for (int pass = 0; pass < 2; pass++) {
          for (int i = 0; i < j; i++) {
            double share = dot(q[i], column);
            r[j][i] += share;
            addTo(column, q[i], -share);
          }
        }
        double left = norm(column);
        boolean depends = left <= 1e-14 * before;
        r[j][j] = depends ? 0 : left;
        for (int k = 0; k < column.length; k++) {
          column[k] = depends ? 0 : column[k] / left;
        }
        q[j] = column;
      }
      return new Qr(q, r);
    }
  }

  /**
   * U·diag(values)·Vᵀ of a square matrix.
   *
   * @param u orthonormal columns, zero where the value is
   * @param values greatest first
   * @param v orthonormal columns
   */
  record Svd(double[][] u, double[] values, double[][] v) {
    /** By one-sided Jacobi rotations. */
    static Svd of(double[][] columns) {
      int n = columns.length;
      double[][] work = new double[n][];
      double[][] v = new double[n][n];
      for (int j = 0; j < n; j++) {
        work[j] = columns[j].clone();
        v[j][j] = 1;
      }
      boolean rotated = true;
      for (int sweep = 0; sweep < SWEEPS && rotated; sweep++) {
        rotated = false;
        for (int p = 0; p < n; p++) {
          for (int q = p + 1; q < n; q++) {
            rotated |= rotate(work, v, p, q);
          }
        }
      }
      return sorted(work, v);
    }

    /** Makes two columns orthogonal; false if they are already. */
    private static boolean rotate(double[][] work, double[][] v, int p, int q) {
      double pp = dot(work[p], work[p]);
      double qq = dot(work[q], work[q]);
      double pq = dot(work[p], work[q]);
      if (Math.abs(pq) <= 1e-15 * Math.sqrt(pp) * Math.sqrt(qq)) {
        return false;
      }
      double zeta = (qq - pp) / (2 * pq);
      double tangent = Math.copySign(1, zeta) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      double cosine = 1 / Math.sqrt(1 + tangent * tangent);
      double sine = cosine * tangent;
      turn(work[p], work[q], cosine, sine);
      turn(v[p], v[q], cosine, sine);
      return true;
    }

    private static void turn(double[] p, double[] q, double cosine, double sine) {
      for (int k = 0; k < p.length; k++) {
        double old = p[k];
        p[k] = cosine * old - sine * q[k];
        q[k] = sine * old + cosine * q[k];
      }
    }

    private static Svd sorted(double[][] work, double[][] v) {
      int n = work.length;
      double[] norms = Arrays.stream(work).mapToDouble(SmallMatrices::norm).toArray();
      Integer[] order = new Integer[n];
      Arrays.setAll(order, i -> i);
      Arrays.sort(order, (a, b) -> Double.compare(norms[b], norms[a]));
      double[][] u = new double[n][];
      double[] values = new double[n];
      double[][] sortedV = new double[n][];
      for (int j = 0; j < n; j++) {
        values[j] = norms[order[j]];
        double value = values[j];
        u[j] = Arrays.stream(work[order[j]]).map(x -> value == 0 ? 0 : x / value).toArray();
        sortedV[j] = v[order[j]];
      }
      return new Svd(u, values, sortedV);
    }

    /** How many values are more than rounding. */
    int rank() {
      return (int) Arrays.stream(values).filter(value -> value > 1e-7 * values[0]).count();
    }
  }

  /** Left times right: both with columns, right with as many rows as left has columns. */
  static double[][] product(double[][] left, double[][] right) {
    double[][] product = new double[right.length][];
    for (int j = 0; j < right.length; j++) {
      product[j] = new double[left.length == 0 ? 0 : left[0].length];
      for (int k = 0; k < left.length; k++) {
        addTo(product[j], left[k], right[j][k]);
      }
    }
    return product;
  }

  static double[][] transpose(double[][] columns, int rows) {
    double[][] transposed = new double[rows][columns.length];
    for (int j = 0; j < columns.length; j++) {
      for (int i = 0; i < rows; i++) {
        transposed[i][j] = columns[j][i];
      }
    }
    return transposed;
  }

  static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static double norm(double[] a) {
    return Math.sqrt(dot(a, a));
  }

  private static void addTo(double[] target, double[] source, double factor) {
    for (int i = 0; i < target.length; i++) {
      target[i] += factor * source[i];
    }
  }
}
