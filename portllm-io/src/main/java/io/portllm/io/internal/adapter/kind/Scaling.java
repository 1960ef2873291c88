package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** IA³ (arXiv 2205.05638): each row of the weight, or each of its input columns, multiplied by a learnt number. */
final class Scaling extends WeightChange {
  private final Tensor numbers;
  private final boolean rowwise;

  /**
   * The change by these numbers.
   *
   * @param shape the weight's shape, or a bias's
   * @param numbers one for each row if {@code rowwise}; else one for each input, whose columns lie side by side
   */
  Scaling(Shape shape, Tensor numbers, boolean rowwise) {
    super(shape, numbers);
    this.numbers = numbers;
    this.rowwise = rowwise;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    if (rowwise) {
      float[] factors = new float[rows];
      Numbers.read(numbers, fromRow, rows, factors);
      for (int i = 0; i < rows * columns; i++) {
        values[i] = (float) ((factors[i / columns] - 1.0) * values[i]);
      }
    } else {
      float[] factors = Numbers.all(numbers);
      int each = columns / factors.length;
      for (int i = 0; i < rows * columns; i++) {
        values[i] = (float) ((factors[i % columns / each] - 1.0) * values[i]);
      }
    }
  }
}
