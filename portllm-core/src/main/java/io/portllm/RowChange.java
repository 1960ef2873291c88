package io.portllm;

import java.io.IOException;
import java.util.List;

/**
 * A change that is computed, a few rows at a time, from something smaller than itself: the factors of an adapter, other patches, or the
 * very weights that it changes.
 *
 * <p>Implementations are immutable and safe for use by many threads, and give the same bits whatever rows are asked for at a time.
 */
public interface RowChange {
  /** The shape of the weight. It is seen as a matrix whose rows have {@link #rowLength} elements. */
  Shape shape();

  /**
   * The elements of what counts as a row here: {@link Shape#columns}, or fewer where a weight of more than two dimensions is a stack of
   * matrices and the change is computed by the rows of these. Divides {@link Shape#columns}.
   */
  default long rowLength() {
    return shape().columns();
  }

  /** Whether the change depends on the weights that it is added to. */
  boolean dependsOnWeights();

  /** The tensors that it reads, besides the weights. */
  List<Tensor> inputs();

  /**
   * Computes rows of the change in float32.
   *
   * @param fromRow the first row
   * @param toRow the row after the last
   * @param weights the weights that the change is added to, of {@link #shape}; not read unless {@link #dependsOnWeights}
   * @param target receives (toRow − fromRow) × {@link #rowLength} values, row-major, from index 0
   */
  void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException;
}
