package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/** A change that is the same whatever the weights are. */
abstract class AdditiveChange implements RowChange {
  private final Shape shape;
  private final List<Tensor> inputs;

  AdditiveChange(Shape shape, Tensor... inputs) {
    this.shape = shape;
    this.inputs = List.of(inputs);
  }

  @Override
  public final Shape shape() {
    return shape;
  }

  @Override
  public final boolean dependsOnWeights() {
    return false;
  }

  @Override
  public final List<Tensor> inputs() {
    return inputs;
  }

  /** {@link #rowLength} for arrays. */
  final int columns() {
    return Math.toIntExact(rowLength());
  }

  @Override
  public final void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    compute(fromRow, Math.toIntExact(toRow - fromRow), target);
  }

  /**
   * Computes rows of the change.
   *
   * @param target receives rows × {@link #rowLength} values from index 0; what it holds before is not defined
   */
  abstract void compute(long fromRow, int rows, float[] target) throws IOException;
}
