package io.portllm.internal.extract;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The right singular vectors of a matrix that is held in memory, in float64.
 *
 * <p>They are found through the eigenvectors of the products of the shorter side's vectors with each other. That squares the singular
 * values, and what is far smaller than the greatest drowns in rounding; where vectors of such values are asked for, Jacobi rotations take
 * the place, on the rows of the triangle of a QR decomposition whose longest vectors come first (Drmač and Veselić, 2008): about ten times
 * slower, and precise.
 */
public final class RightVectors {
  /** The least of the squares of the wanted singular values, by the greatest, that the products of vectors still tell. */
  private static final double TOLD = 1e-9;

  private RightVectors() {}

  /**
   * The right singular vectors of the greatest singular values, one after the other, greatest first.
   *
   * @param matrix row by row
   * @param count at most the lesser of rows and columns; vectors of singular values of zero are zero
   */
  public static double[] greatest(float[] matrix, int columns, int count) {
    int rows = matrix.length / columns;
    boolean wide = rows <= columns;
    int sides = wide ? rows : columns;
    int length = wide ? columns : rows;
    int[] order = byLength(matrix, columns, wide);
    double[] vectors = new double[sides * length];
    for (int i = 0; i < sides; i++) {
      for (int j = 0; j < length; j++) {
        vectors[i * length + j] = wide ? matrix[order[i] * columns + j] : matrix[j * columns + order[i]];
      }
    }
    double[][] products = new double[sides][sides];
    for (int i = 0; i < sides; i++) {
      for (int j = 0; j <= i; j++) {
        products[i][j] = Vectors.dot(vectors, i * length, vectors, j * length, length);
        products[j][i] = products[i][j];
      }
    }
    SymmetricEigen eigen = SymmetricEigen.of(products, count);
    if (count > 0 && !(eigen.values()[count - 1] > TOLD * eigen.values()[0])) {
      return byRotations(vectors, order, wide, length, columns, count);
    }
    double[] directions = new double[count * columns];
    for (int k = 0; k < count; k++) {
      if (wide) {
        Vectors.addAll(directions, k * columns, columns, eigen.vectors()[k], 0, 1, vectors, 0, length, sides);
      } else {
        for (int i = 0; i < sides; i++) {
          directions[k * columns + order[i]] = eigen.vectors()[k][i];
        }
      }
    }
    Orthonormal.orthonormalise(directions, count, columns, null);
    return directions;
  }

  private static double[] byRotations(double[] vectors, int[] order, boolean wide, int length, int columns, int count) {
    int sides = order.length;
    double[] triangle = new double[sides * sides];
    int rank = Orthonormal.orthonormalise(vectors, sides, length, triangle);
    double[] triangleRows = Arrays.copyOf(triangle, rank * sides);
    JacobiSvd svd = JacobiSvd.of(triangleRows, rank, sides);
    double[] directions = new double[count * columns];
    double[] turned = new double[sides];
    for (int k = 0; k < Math.min(count, rank); k++) {
      if (svd.values()[k] == 0) {
        continue;
      }
      if (wide) {
        Vectors.addAll(directions, k * columns, columns, svd.right(), k * rank, 1, vectors, 0, length, rank);
      } else {
        Arrays.fill(turned, 0);
        Vectors.addAll(turned, 0, sides, svd.right(), k * rank, 1, triangle, 0, sides, rank);
        for (int i = 0; i < sides; i++) {
          directions[k * columns + order[i]] = turned[i] / svd.values()[k];
        }
      }
    }
    return directions;
  }

  /** The rows, or columns, by their length, the longest first. */
  private static int[] byLength(float[] matrix, int columns, boolean byRow) {
    double[] squares = new double[byRow ? matrix.length / columns : columns];
    for (int i = 0; i < matrix.length; i++) {
      squares[byRow ? i / columns : i % columns] += (double) matrix[i] * matrix[i];
    }
    return IntStream.range(0, squares.length)
        .boxed()
        .sorted(Comparator.comparingDouble((Integer i) -> -squares[i]))
        .mapToInt(Integer::intValue)
        .toArray();
  }
}
