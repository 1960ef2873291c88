package io.portllm.internal.codes;

import static io.portllm.Delta.Sparse.BLOCK;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Delta.Sparse.Coding;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;

/** Where the positions of a sparse tensor lie; see {@link Delta.Sparse}. */
public final class PositionLayout {
  /** The byte that stands for this many unchanged weights and no change. */
  public static final int SKIP = 255;

  private PositionLayout() {}

  /** The number of blocks. */
  public static long blocks(long elements) {
    return elements / BLOCK + (elements % BLOCK == 0 ? 0 : 1);
  }

  /** The number of weights in a block. */
  public static int length(long block, long elements) {
    return (int) Math.min(BLOCK, elements - block * BLOCK);
  }

  /**
   * Checks types and shapes.
   *
   * @throws IllegalArgumentException if they do not fit each other
   */
  public static void requireFits(TensorInfo positions, TensorInfo offsets, Coding coding, Delta values, Shape shape) {
    if (!(values instanceof Delta.Dense || values instanceof Delta.Quantised) || values.shape().rank() != 1) {
      throw new IllegalArgumentException("values must be a list of dense or quantised changes but were " + values);
    }
    if (values.shape().elements() > shape.elements()) {
      throw new IllegalArgumentException(values.shape().elements() + " values are more than the weights of " + shape);
    }
    CodeLayout.require(offsets, DType.I64, Shape.of(blocks(shape.elements()) + 1, 2));
    if (coding == Coding.BITMAP) {
      CodeLayout.require(positions, DType.U8, Shape.of(shape.elements() / 8 + (shape.elements() % 8 == 0 ? 0 : 1)));
    } else if (positions.dtype() != DType.U8 || positions.shape().rank() != 1) {
      throw new IllegalArgumentException(
          "tensor " + Names.quote(positions.name()) + " must be a list of U8 but is " + positions.dtype() + " " + positions.shape());
    }
  }
}
