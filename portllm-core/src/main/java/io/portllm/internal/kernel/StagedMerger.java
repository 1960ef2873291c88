package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.util.ArrayList;
import java.util.List;

/**
 * A merger in plain Java that copies blocks into arrays and works on these with {@link Loops}, several times as fast as the scalar one.
 * It is for BF16 and F32 weights; others, and blocks that an operand covers in part, are merged as the scalar merger does it.
 */
public final class StagedMerger implements Merger {
  /** The merger. */
  public static final Merger INSTANCE = new StagedMerger();

  private StagedMerger() {}

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    boolean staged = chunk.dtype() == DType.BF16 || chunk.dtype() == DType.F32;
    return staged ? new Work(chunk, operands).merge() : ScalarMerger.INSTANCE.merge(chunk, operands);
  }

  @Override
  public String toString() {
    return "staged";
  }

  /** The merging of one run. */
  private static final class Work {
    private final Chunk chunk;
    private final List<Operand> operands;
    private final StagedBlock staged;
    private final BlockMerger.Singles scalar;
    private final List<Operand> covering = new ArrayList<>();
    private Rounding rounding = Rounding.NONE;

    Work(Chunk chunk, List<Operand> operands) {
      this.chunk = chunk;
      this.operands = operands;
      this.staged = new StagedBlock(chunk);
      this.scalar = new BlockMerger.Singles(new ScalarKernel(), chunk, operands);
    }

    Rounding merge() {
      LowRank product = wideProduct();
      if (product == null) {
        for (int at = 0; at < chunk.elements(); at += Planes.BLOCK) {
          merge(at, Math.min(chunk.elements(), at + Planes.BLOCK));
        }
      } else {
        mergeByColumns(product);
      }
      return rounding.plus(staged.rounding());
    }

    private LowRank wideProduct() {
      for (Operand operand : operands) {
        if (operand instanceof LowRank product && product.columns() >= Planes.BLOCK / 8) {
          return product;
        }
      }
      return null;
    }

    /** Merges blocks of the same columns one after the other, so that their columns of the right factor are copied once. */
    private void mergeByColumns(LowRank product) {
      int columns = product.columns();
      int offset = Math.floorMod(product.column() - product.start(), columns);
      long end = (long) offset + chunk.elements();
      for (int column = 0; column < columns; column += Planes.BLOCK) {
        int width = Math.min(Planes.BLOCK, columns - column);
        for (long from = column; from < end; from += columns) {
          merge((int) Math.max(0, from - offset), (int) (Math.min(from + width, end) - offset));
        }
      }
    }

    private void merge(int from, int to) {
      if (to <= from) {
        return;
      }
      covering.clear();
      boolean whole = staged.fits(from, to);
      for (Operand operand : operands) {
        int end = operand.start() + operand.elements();
        if (operand.start() <= from && end >= to) {
          covering.add(operand);
        } else {
          whole &= operand.start() >= to || end <= from;
        }
      }
      if (!whole) {
        rounding = rounding.plus(scalar.merge(from, to));
      } else if (!covering.isEmpty()) {
        staged.merge(from, to, covering);
      }
    }
  }
}
