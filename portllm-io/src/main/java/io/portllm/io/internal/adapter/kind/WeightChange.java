package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/** A change W' − W that depends on the weights W. */
abstract class WeightChange implements RowChange {
  private final Shape shape;
  private final List<Tensor> inputs;

  WeightChange(Shape shape, Tensor... inputs) {
    this.shape = shape;
    this.inputs = List.of(inputs);
  }

  @Override
  public final Shape shape() {
    return shape;
  }

  @Override
  public boolean dependsOnWeights() {
    return true;
  }

  @Override
  public final List<Tensor> inputs() {
    return inputs;
  }

  final int columns() {
    return Math.toIntExact(shape.columns());
  }

  @Override
  public final void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    int rows = Math.toIntExact(toRow - fromRow);
    if (dependsOnWeights()) {
      Numbers.read(weights, fromRow * columns(), rows * columns(), target);
    }
    change(weights, fromRow, rows, target);
  }

  /**
   * Puts changes in place of weights.
   *
   * @param weights all weights, to read others from
   * @param fromRow the first row
   * @param rows how many rows
   * @param values these rows of the weights if the change depends on them, to be overwritten
   */
  abstract void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException;
}
