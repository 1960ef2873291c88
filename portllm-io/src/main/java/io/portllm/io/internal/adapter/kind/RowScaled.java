package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** The upper left corner of a matrix, each row multiplied by a number. */
final class RowScaled extends AdditiveChange {
  private final Tensor matrix;
  private final Tensor factors;

  private RowScaled(Tensor matrix, Tensor factors, Shape shape) {
    super(shape, matrix, factors);
    this.matrix = matrix;
    this.factors = factors;
  }

  /** The matrix with row i multiplied by element i of {@code factors}. */
  static Tensor of(Tensor matrix, Tensor factors) {
    return of(matrix, factors, matrix.info().shape().columns());
  }

  /** The first {@code columns} columns of as many rows as there are {@code factors}, row i multiplied by element i of them. */
  static Tensor of(Tensor matrix, Tensor factors, long columns) {
    Shape shape = Shape.of(factors.info().elements(), columns);
    return ComputedTensor.of(matrix.info().name(), new RowScaled(matrix, factors, shape));
  }

  @Override
  void compute(long fromRow, int rows, float[] target) throws IOException {
    int columns = columns();
    float[] scales = new float[rows];
    Numbers.read(factors, fromRow, rows, scales);
    float[] row = new float[columns];
    for (int r = 0; r < rows; r++) {
      Numbers.read(matrix, (fromRow + r) * matrix.info().shape().columns(), columns, row);
      for (int i = 0; i < columns; i++) {
        target[r * columns + i] = scales[r] * row[i];
      }
    }
  }
}
