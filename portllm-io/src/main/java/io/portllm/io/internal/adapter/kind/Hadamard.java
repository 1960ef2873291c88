package io.portllm.io.internal.adapter.kind;

import com.google.common.collect.Streams;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** The product of two matrices of one size, element by element, times a number. */
final class Hadamard extends AdditiveChange {
  private final Matrix one;
  private final Matrix other;
  private final float scale;

  Hadamard(Shape shape, Matrix one, Matrix other, double scale) {
    super(shape, Streams.concat(one.inputs().stream(), other.inputs().stream()).toArray(Tensor[]::new));
    this.one = one;
    this.other = other;
    this.scale = (float) scale;
  }

  @Override
  void compute(long fromRow, int rows, float[] target) throws IOException {
    int columns = columns();
    float[] left = new float[columns];
    float[] right = new float[columns];
    for (int row = 0; row < rows; row++) {
      one.read(fromRow + row, left);
      other.read(fromRow + row, right);
      for (int i = 0; i < columns; i++) {
        target[row * columns + i] = left[i] * right[i] * scale;
      }
    }
  }
}
