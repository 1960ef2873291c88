package io.portllm.internal.extract;

import io.portllm.extract.RankRule;
import java.io.IOException;
import java.util.Arrays;

/**
 * The best approximation of a matrix by a product of two thin ones: B·A ≈ D, found with a random sketch and power iterations (Halko,
 * Martinsson and Tropp, arXiv 0909.4061, algorithms 4.4 and 5.1, on the transpose) in a few passes over the rows of D.
 *
 * <p>With X an orthonormal basis of nearly all of D's strongest right singular vectors, D·X = U·S·Wᵀ gives B = U·√S and
 * A = √S·(X·W)ᵀ, cut to the rank.
 *
 * @param norm the Frobenius norm of D
 * @param nonFinite how many values of D are NaN or infinite; if there are any, nothing else is known
 * @param rank 0 if D is zero
 * @param fits whether the factors hold fewer numbers than D, or the rule wants them whatever they hold
 * @param b rows × rank, row-major
 * @param a rank × columns, row-major
 */
public record Approximation(double norm, long nonFinite, int rank, boolean fits, float[] b, float[] a) {
  /** Any seed will do; one that is fixed makes results reproducible. */
  private static final long SEED = 20240117;

  /** Power iterations: with two, a flat spectrum costs well under 1 % of error against the best approximation. */
  private static final int ITERATIONS = 2;

  /** The least number of columns of a sketch past the rank that is looked for. */
  private static final int EXTRA = 16;

  private static final int FIRST_WIDTH = 64;

  /** Matrices with no more rows or columns than this are decomposed whole, which takes no longer and leaves nothing to chance. */
  private static final int WHOLE = 128;

  /** What is left of the squared norm where float32 factors cannot come closer. */
  private static final double FLOAT_PRECISION = 1e-14;

  private static Approximation without(Matrix matrix, boolean fits) {
    return new Approximation(Math.sqrt(matrix.squares()), matrix.nonFinite(), 0, fits, new float[0], new float[0]);
  }

  /** Approximates {@code matrix} as {@code rule} says. */
  public static Approximation of(Matrix matrix, RankRule rule) throws IOException {
    int full = Math.min(matrix.rows(), matrix.columns());
    int cap = Math.min(full, rule.most());
    int fitting = (int) (((long) matrix.rows() * matrix.columns() - 1) / (matrix.rows() + matrix.columns()));
    int most = rule.energy().isPresent() ? Math.min(cap, fitting) : cap;
    int widest = full <= WHOLE ? full : Math.min(full, most + Math.max(EXTRA, most / 2));
    int width = rule.energy().isPresent() ? Math.min(widest, FIRST_WIDTH) : widest;
    double[] x = matrix.sample(width, 0, SEED);
    if (matrix.nonFinite() > 0 || matrix.squares() == 0) {
      return without(matrix, true);
    }
    int drawn = width;
    while (true) {
      int found = Orthonormal.orthonormalise(x, width, matrix.columns(), null);
      // Where the sketch holds all of D's range there is nothing to iterate for.
      boolean complete = found < width || width == full;
      for (int i = 0; i < ITERATIONS && !complete; i++) {
        x = matrix.power(x, found);
        found = Orthonormal.orthonormalise(x, found, matrix.columns(), null);
      }
      double[] y = matrix.times(x, found);
      JacobiSvd svd = decompose(y, found, matrix.rows());
      int rank = least(svd.values(), matrix.squares(), rule);
      boolean enough = rank > 0 && rank <= most && (complete || rank + Math.max(EXTRA, rank / 4) <= width);
      if (enough || complete || width == widest) {
        rank = rank == 0 ? found : rank;
        if (rule.energy().isPresent() && rank > fitting && fitting < cap) {
          return without(matrix, false);
        }
        return cut(matrix, x, y, svd, Math.min(rank, most));
      }
      int wider = Math.min(widest, 2 * width);
      double[] more = matrix.sample(wider - found, drawn, SEED);
      drawn += wider - found;
      x = Arrays.copyOf(x, wider * matrix.columns());
      System.arraycopy(more, 0, x, found * matrix.columns(), more.length);
      width = wider;
    }
  }

  /** The singular values of Y and its right singular vectors, by way of the triangle of its QR decomposition. */
  private static JacobiSvd decompose(double[] y, int width, int rows) {
    double[] triangle = new double[width * width];
    int rank = Orthonormal.orthonormalise(y.clone(), width, rows, triangle);
    double[] columns = new double[width * rank];
    for (int j = 0; j < width; j++) {
      for (int k = 0; k < rank; k++) {
        columns[j * rank + k] = triangle[k * width + j];
      }
    }
    return JacobiSvd.of(columns, width, rank);
  }

  /** The least rank that satisfies the rule, or 0 if none of the sketch does. */
  static int least(double[] values, double squares, RankRule rule) {
    double rest = rule.energy().isPresent() ? Math.max(1 - rule.energy().getAsDouble(), RankRule.ENERGY_PRECISION) : FLOAT_PRECISION;
    double left = squares;
    for (int rank = 1; rank <= values.length; rank++) {
      left -= values[rank - 1] * values[rank - 1];
      if (left <= rest * squares || rule.energy().isEmpty() && rank == rule.most()) {
        return rank;
      }
    }
    return 0;
  }

  private static Approximation cut(Matrix matrix, double[] x, double[] y, JacobiSvd svd, int rank) {
    int width = svd.values().length;
    int rows = matrix.rows();
    int columns = matrix.columns();
    float[] b = new float[Math.multiplyExact(rows, rank)];
    float[] a = new float[Math.multiplyExact(rank, columns)];
    double[] column = new double[rows];
    double[] row = new double[columns];
    for (int k = 0; k < rank; k++) {
      double root = Math.sqrt(svd.values()[k]);
      Arrays.fill(column, 0);
      Vectors.addAll(column, 0, rows, svd.right(), k * width, 1, y, 0, rows, width);
      Arrays.fill(row, 0);
      Vectors.addAll(row, 0, columns, svd.right(), k * width, 1, x, 0, columns, width);
      for (int i = 0; i < rows; i++) {
        b[i * rank + k] = (float) (column[i] / root);
      }
      for (int i = 0; i < columns; i++) {
        a[k * columns + i] = (float) (row[i] * root);
      }
    }
    return new Approximation(Math.sqrt(matrix.squares()), 0, rank, true, b, a);
  }
}
