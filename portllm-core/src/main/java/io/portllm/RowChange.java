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
  /** The shape of the weight, seen as a matrix of {@link Shape#rows} × {@link Shape#columns}. */
  Shape shape();

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
   * @param target receives (toRow − fromRow) × columns values, row-major, from index 0
   */
  void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException;
}
