package io.portllm.io.internal.adapter.kind;

import com.google.common.collect.Streams;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** The Kronecker product of two matrices, times a number. */
final class Kronecker extends AdditiveChange {
  private final Matrix blocks;
  private final Matrix block;
  private final float scale;

  /**
   * The product.
   *
   * @param blocks what each block is multiplied by
   * @param block the block
   */
  Kronecker(Shape shape, Matrix blocks, Matrix block, double scale) {
    super(shape, Streams.concat(blocks.inputs().stream(), block.inputs().stream()).toArray(Tensor[]::new));
    this.blocks = blocks;
    this.block = block;
    this.scale = (float) scale;
  }

  @Override
  void compute(long fromRow, int rows, float[] target) throws IOException {
    float[] factors = new float[blocks.columns()];
    float[] values = new float[block.columns()];
    int at = 0;
    for (long row = fromRow; row < fromRow + rows; row++) {
      blocks.read(row / block.rows(), factors);
      block.read(row % block.rows(), values);
      for (float factor : factors) {
        for (float value : values) {
          target[at++] = factor * value * scale;
        }
      }
    }
  }
}
