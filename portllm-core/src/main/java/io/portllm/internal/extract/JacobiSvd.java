package io.portllm.internal.extract;

import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Singular values and right singular vectors of a small matrix by one-sided Jacobi rotations in float64, which find small singular values
 * to high relative accuracy (Demmel and Veselić, 1992).
 *
 * @param values the singular values, largest first
 * @param right columns × columns: row i is the right singular vector of value i
 */
public record JacobiSvd(double[] values, double[] right) {
  /** Columns are orthogonal when their cosine is below this. */
  private static final double ORTHOGONAL = 1e-14;

  /** Convergence is quadratic; ten sweeps are much already. */
  private static final int MOST_SWEEPS = 60;

  /**
   * Decomposes a matrix.
   *
   * @param columns the matrix by columns, {@code count} of {@code length} values each; overwritten
   */
  public static JacobiSvd of(double[] columns, int count, int length) {
    double[] right = new double[count * count];
    for (int i = 0; i < count; i++) {
      right[i * count + i] = 1;
    }
    for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
      if (!rotateAll(columns, count, length, right)) {
        break;
      }
    }
    double[] norms = new double[count];
    for (int i = 0; i < count; i++) {
      norms[i] = Math.sqrt(Vectors.dot(columns, i * length, columns, i * length, length));
    }
    int[] order =
        IntStream.range(0, count).boxed().sorted(Comparator.comparingDouble((Integer i) -> -norms[i])).mapToInt(Integer::intValue).toArray();
    double[] values = new double[count];
    double[] sorted = new double[count * count];
    for (int i = 0; i < count; i++) {
      values[i] = norms[order[i]];
      System.arraycopy(right, order[i] * count, sorted, i * count, count);
    }
    return new JacobiSvd(values, sorted);
  }

  /** Makes each pair of columns orthogonal once; whether there was one that was not. */
  private static boolean rotateAll(double[] columns, int count, int length, double[] right) {
    boolean rotated = false;
    double[] squares = new double[count];
    for (int i = 0; i < count; i++) {
      squares[i] = Vectors.dot(columns, i * length, columns, i * length, length);
    }
    for (int i = 0; i < count - 1; i++) {
      for (int j = i + 1; j < count; j++) {
        double product = Vectors.dot(columns, i * length, columns, j * length, length);
        if (Math.abs(product) <= ORTHOGONAL * Math.sqrt(squares[i]) * Math.sqrt(squares[j])) {
          continue;
        }
        rotated = true;
        double cotangent = (squares[j] - squares[i]) / (2 * product);
        double tangent = Math.signum(cotangent) / (Math.abs(cotangent) + Math.sqrt(1 + cotangent * cotangent));
        if (cotangent == 0) {
          tangent = 1;
        }
        double cosine = 1 / Math.sqrt(1 + tangent * tangent);
        double sine = cosine * tangent;
        rotate(columns, i * length, j * length, length, cosine, sine);
        rotate(right, i * count, j * count, count, cosine, sine);
        squares[i] = Vectors.dot(columns, i * length, columns, i * length, length);
        squares[j] = Vectors.dot(columns, j * length, columns, j * length, length);
      }
    }
    return rotated;
  }

  private static void rotate(double[] values, int one, int other, int length, double cosine, double sine) {
    for (int i = 0; i < length; i++) {
      double x = values[one + i];
      double y = values[other + i];
      values[one + i] = cosine * x - sine * y;
      values[other + i] = sine * x + cosine * y;
    }
  }
}
