package io.portllm.internal.kernel;

import com.google.common.collect.ImmutableMap;
import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * A merger in plain Java that copies blocks into arrays and works on these with {@link Loops}, several times as fast as the scalar one.
 * It is for BF16, F16 and F32 weights; others, and blocks that an operand covers in part, are merged as the scalar merger does it.
 */
public final class StagedMerger implements Merger {
  /** The merger. */
  public static final StagedMerger INSTANCE = new StagedMerger();

  /** Arrays that no thread uses: 100 KB for each that has merged, and the rows of the last product. */
  private final Map<DType, Queue<StagedBlock>> free =
      ImmutableMap.of(
          DType.BF16, new ConcurrentLinkedQueue<>(), DType.F16, new ConcurrentLinkedQueue<>(), DType.F32, new ConcurrentLinkedQueue<>());

  private StagedMerger() {}

  /** Whether weights of a type are merged with {@link Loops}. */
  boolean isFor(DType type) {
    return free.containsKey(type);
  }

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    DType type = chunk.dtype();
    Queue<StagedBlock> blocks = free.get(type);
    if (blocks == null) {
      return ScalarMerger.INSTANCE.merge(chunk, operands);
    }
    StagedBlock block = blocks.poll();
    if (block == null) {
      block = new StagedBlock(type);
    }
    block.begin(chunk);
    Work work = new Work(chunk, operands, block);
    work.merge();
    Rounding rounding = work.rounding.plus(block.finish());
    blocks.add(block);
    return rounding;
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
    private final List<Operand> covering = new ArrayList<>();
    private BlockMerger.Singles scalar;
    private Rounding rounding = Rounding.NONE;

    Work(Chunk chunk, List<Operand> operands, StagedBlock staged) {
      this.chunk = chunk;
      this.operands = operands;
      this.staged = staged;
    }

    void merge() {
      LowRank product = wideProduct();
      if (product == null) {
        for (int at = 0; at < chunk.elements(); at += Planes.BLOCK) {
          merge(at, Math.min(chunk.elements(), at + Planes.BLOCK));
        }
      } else {
        mergeByColumns(product);
      }
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
      if (!whole || !covering.isEmpty() && !staged.merge(from, to, covering)) {
        scalar = scalar == null ? new BlockMerger.Singles(new ScalarKernel(), chunk, operands) : scalar;
        rounding = rounding.plus(scalar.merge(from, to));
      }
    }
  }
}
