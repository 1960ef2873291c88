package io.portllm.internal.merge;

import com.google.common.collect.ImmutableList;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/** The change of a stack of matrices, each by a change of its own that needs no weights. */
final class StackedChange implements RowChange {
  private final Shape shape;
  private final ImmutableList<Tensor> inputs;
  private final ImmutableList<RowChange> matrices;
  private final long height;

  StackedChange(Shape shape, List<Tensor> inputs, List<RowChange> matrices) {
    this.shape = shape;
    this.inputs = ImmutableList.copyOf(inputs);
    this.matrices = ImmutableList.copyOf(matrices);
    this.height = shape.dimension(shape.rank() - 2);
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public long rowLength() {
    return shape.dimension(shape.rank() - 1);
  }

  @Override
  public boolean dependsOnWeights() {
    return false;
  }

  @Override
  public List<Tensor> inputs() {
    return inputs;
  }

  @Override
  public void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    int columns = Math.toIntExact(rowLength());
    long row = fromRow;
    while (row < toRow) {
      long from = row % height;
      long to = Math.min(height, from + toRow - row);
      float[] part = new float[Math.toIntExact((to - from) * columns)];
      matrices.get(Math.toIntExact(row / height)).compute(from, to, weights, part);
      System.arraycopy(part, 0, target, (int) (row - fromRow) * columns, part.length);
      row += to - from;
    }
  }
}
