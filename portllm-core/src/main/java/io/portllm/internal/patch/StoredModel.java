package io.portllm.internal.patch;

import io.portllm.Rounding;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/** A patched version whose tensors are stored in another form than patches see them in. */
public interface StoredModel extends DerivedModel {
  /**
   * What storing did to weights that were read.
   *
   * @param rounding counts of weights
   * @param change the sum of the squares of the changes; this and the rest are of quantised tensors alone
   * @param error the sum of the squares of what quantising added to the weights that were quantised anew
   * @param overlap the sum of the products of the changes and what was stored of them
   * @param changedBlocks blocks whose bytes are other ones now
   * @param blocks all blocks
   */
  record Loss(Rounding rounding, double change, double error, double overlap, long changedBlocks, long blocks) {
    /** Nothing was read. */
    public static final Loss NONE = new Loss(Rounding.NONE, 0, 0, 0, 0, 0);

    /** The sums of both. */
    public Loss plus(Loss other) {
      return new Loss(
          rounding.plus(other.rounding),
          change + other.change,
          error + other.error,
          overlap + other.overlap,
          changedBlocks + other.changedBlocks,
          blocks + other.blocks);
    }
  }

  /** Reads as {@link #read} does, and tells what storing did. */
  Loss measure(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException;
}
