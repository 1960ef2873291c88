package io.portllm.internal.merge;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/** A change computed from those of several patches, whole rows of all of them at a time. */
abstract class CombinedChange implements RowChange {
  /** Elements worked on at a time, if a row is not longer: what several patches need of them stays in the second-level cache. */
  private static final int BLOCK = 1 << 14;

  private final Inputs inputs;
  private final boolean oneRow;

  /**
   * A change of one tensor.
   *
   * @param byRow whether the elements of a row belong together; a vector then counts as one row, and is computed whole
   */
  CombinedChange(Inputs inputs, boolean byRow) {
    this.inputs = inputs;
    this.oneRow = byRow && inputs.shape().rank() <= 1;
  }

  @Override
  public final Shape shape() {
    return inputs.shape();
  }

  @Override
  public final boolean dependsOnWeights() {
    return false;
  }

  @Override
  public final List<Tensor> inputs() {
    return inputs.tensors();
  }

  @Override
  public final void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    if (oneRow) {
      float[] row = new float[Math.toIntExact(shape().elements())];
      compute(0, 1, row.length, row);
      System.arraycopy(row, (int) fromRow, target, 0, (int) (toRow - fromRow));
    } else {
      compute(fromRow, toRow, Math.toIntExact(shape().columns()), target);
    }
  }

  private void compute(long fromRow, long toRow, int columns, float[] target) throws IOException {
    int step = (int) Math.min(Math.max(1, BLOCK / Math.max(1, columns)), toRow - fromRow);
    float[][] values = new float[inputs.patches()][step * columns];
    List<Elements> changes = inputs.all();
    for (long row = fromRow; row < toRow; row += step) {
      int rows = (int) Math.min(step, toRow - row);
      for (int patch = 0; patch < values.length; patch++) {
        changes.get(patch).read(row * columns, rows * columns, values[patch]);
      }
      combine(row * columns, rows, columns, values, target, (int) (row - fromRow) * columns);
    }
  }

  /**
   * Computes whole rows.
   *
   * @param first the first element, counted from the start of the tensor
   * @param values the rows of each patch, which may be overwritten
   * @param target receives the result from index {@code at} on
   */
  abstract void combine(long first, int rows, int columns, float[][] values, float[] target, int at) throws IOException;
}
