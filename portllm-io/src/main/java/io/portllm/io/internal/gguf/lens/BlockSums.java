package io.portllm.io.internal.gguf.lens;

import io.portllm.io.Requantisation;
import java.util.Collection;

/**
 * What {@link Requantisation} is computed from, for some blocks.
 *
 * @param change the sum of the squares of the changes
 * @param error the sum of the squares of what quantising added
 * @param overlap the sum of the products of the changes and what was stored of them
 * @param changedBlocks blocks whose bytes are other ones now
 * @param blocks all blocks
 */
public record BlockSums(double change, double error, double overlap, long changedBlocks, long blocks) {
  static final BlockSums NONE = new BlockSums(0, 0, 0, 0, 0);

  BlockSums plus(BlockSums other) {
    return new BlockSums(
        change + other.change,
        error + other.error,
        overlap + other.overlap,
        changedBlocks + other.changedBlocks,
        blocks + other.blocks);
  }

  /** These parts, added up in their order. */
  public static BlockSums sum(Collection<BlockSums> parts) {
    return parts.stream().reduce(NONE, BlockSums::plus);
  }

  /** The figures of a tensor whose blocks are in these parts, added up in their order. */
  public static Requantisation total(Collection<BlockSums> parts) {
    BlockSums sum = sum(parts);
    double kept = sum.change == 0 ? 1 : sum.overlap / sum.change;
    return new Requantisation(Math.sqrt(sum.change), Math.sqrt(sum.error), kept, sum.changedBlocks, sum.blocks);
  }
}
