package io.portllm.io.internal.adapter.kind;

import java.util.Arrays;
import java.util.Comparator;

/** The right singular vectors of a matrix, by one-sided Jacobi rotations in float64. */
final class SingularDirections {
  private static final int MOST_SWEEPS = 60;

  /** Two vectors count as orthogonal below this cosine. */
  private static final double ORTHOGONAL = 1e-13;

  private SingularDirections() {}

  /**
   * The right singular vectors of the greatest singular values, one after the other, greatest first.
   *
   * @param matrix row by row
   * @param count at most the lesser of rows and columns; vectors of singular values of zero are zero
   */
  static double[] greatest(float[] matrix, int columns, int count) {
    int rows = matrix.length / columns;
    boolean wide = rows <= columns;
    // Along the shorter side, of which there are fewer pairs: rows turn into σ·v, columns into σ·u while the rotations gather in v.
    double[][] turned = new double[wide ? rows : columns][wide ? columns : rows];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        turned[wide ? row : column][wide ? column : row] = matrix[row * columns + column];
      }
    }
    double[][] rotations = new double[wide ? 0 : columns][columns];
    for (int i = 0; i < rotations.length; i++) {
      rotations[i][i] = 1;
    }
    boolean rotated = true;
    for (int sweep = 0; rotated && sweep < MOST_SWEEPS; sweep++) {
      rotated = false;
      for (int p = 0; p < turned.length; p++) {
        for (int q = p + 1; q < turned.length; q++) {
          rotated |= rotate(turned, rotations, p, q);
        }
      }
    }
    double[] norms = Arrays.stream(turned).mapToDouble(vector -> Math.sqrt(dot(vector, vector))).toArray();
    Integer[] order = new Integer[norms.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparing(i -> -norms[i]));
    double[] directions = new double[count * columns];
    for (int k = 0; k < count; k++) {
      double norm = norms[order[k]];
      double[] vector = wide ? turned[order[k]] : rotations[order[k]];
      for (int i = 0; i < columns && norm > 0; i++) {
        directions[k * columns + i] = wide ? vector[i] / norm : vector[i];
      }
    }
    return directions;
  }

  /** Makes two vectors orthogonal; false if they are already. */
  private static boolean rotate(double[][] vectors, double[][] rotations, int p, int q) {
    double pp = dot(vectors[p], vectors[p]);
    double qq = dot(vectors[q], vectors[q]);
    double pq = dot(vectors[p], vectors[q]);
    if (Math.abs(pq) <= ORTHOGONAL * Math.sqrt(pp) * Math.sqrt(qq)) {
      return false;
    }
    double ratio = (qq - pp) / (2 * pq);
    double tangent = Math.copySign(1, ratio) / (Math.abs(ratio) + Math.hypot(1, ratio));
    double cosine = 1 / Math.hypot(1, tangent);
    double sine = cosine * tangent;
    turn(vectors[p], vectors[q], cosine, sine);
    if (rotations.length > 0) {
      turn(rotations[p], rotations[q], cosine, sine);
    }
    return true;
  }

  private static void turn(double[] p, double[] q, double cosine, double sine) {
    for (int i = 0; i < p.length; i++) {
      double old = p[i];
      p[i] = cosine * old - sine * q[i];
      q[i] = sine * old + cosine * q[i];
    }
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }
}
