package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;

/** A matrix held in memory. */
final class InMemory extends AdditiveChange {
  private final float[] values;

  private InMemory(Shape shape, float[] values) {
    super(shape);
    this.values = values;
  }

  /** The tensor of these values, row by row. */
  static Tensor of(String name, Shape shape, float[] values) {
    return ComputedTensor.of(name, new InMemory(shape, values));
  }

  @Override
  void compute(long fromRow, int rows, float[] target) {
    System.arraycopy(values, Math.toIntExact(fromRow * columns()), target, 0, rows * columns());
  }
}
