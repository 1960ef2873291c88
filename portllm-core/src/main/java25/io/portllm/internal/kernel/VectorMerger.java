package io.portllm.internal.kernel;

import io.portllm.Merger;
import io.portllm.Rounding;
import java.util.List;

/**
 * Merges with the Vector API: each change to BF16, F16 and F32 weights that meets no other alone, in one pass or tile by tile, all others
 * block by block. Needs {@code jdk.incubator.vector}.
 */
final class VectorMerger implements Merger {
  private final Merger blocks = new BlockMerger("vector", VectorKernel::new);

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    boolean singly = VectorAdder.isFor(chunk.dtype()) && BlockMerger.areApart(operands);
    if (!singly) {
      return blocks.merge(chunk, operands);
    }
    Rounding total = Rounding.NONE;
    for (Operand operand : operands) {
      total = total.plus(merge(chunk, operand));
    }
    return total;
  }

  private static Rounding merge(Chunk chunk, Operand operand) {
    if (VectorRun.isFor(chunk.dtype(), operand)) {
      return new VectorRun(chunk, operand).merge();
    }
    if (VectorHalves.isFor(chunk.dtype(), operand)) {
      return new VectorHalves(chunk, operand).merge();
    }
    if (operand instanceof LowRank product && VectorProduct.isFor(product)) {
      return new VectorProduct(chunk, product).merge();
    }
    return BlockMerger.Singles.merge(new VectorKernel(), chunk, operand);
  }

  @Override
  public String toString() {
    return blocks.toString();
  }
}
