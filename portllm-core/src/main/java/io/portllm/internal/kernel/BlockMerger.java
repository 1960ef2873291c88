package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/** A merger that works block by block, with loops of one kind. */
final class BlockMerger implements Merger {
  private static final int BLOCK = BlockKernel.BLOCK;

  private final String name;
  private final Supplier<BlockKernel> kernels;

  /**
   * A merger.
   *
   * @param name what messages call it
   * @param kernels makes the loops of one call
   */
  BlockMerger(String name, Supplier<BlockKernel> kernels) {
    this.name = name;
    this.kernels = kernels;
  }

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    if (chunk.dtype() == DType.F64) {
      return new Doubles(chunk, operands).merge();
    }
    BlockKernel kernel = kernels.get();
    if (!areApart(operands)) {
      return new Singles(kernel, chunk, operands).merge(0, chunk.elements());
    }
    Rounding total = Rounding.NONE;
    for (Operand operand : operands) {
      total = total.plus(Singles.merge(kernel, chunk, operand));
    }
    return total;
  }

  /** Whether operands follow on each other and no two change the same element, such as single rows. Each can then be merged alone. */
  static boolean areApart(List<Operand> operands) {
    int end = 0;
    for (Operand operand : operands) {
      if (operand.start() < end) {
        return false;
      }
      end = operand.start() + operand.elements();
    }
    return true;
  }

  /** Writes the sum of changes to {@code count} elements, in float32, to {@code target} from {@code at} on. Zeros are positive. */
  void evaluate(List<Operand> operands, int count, float[] target, int at) {
    new Singles(kernels.get(), new Chunk(DType.F32, null, count), operands).evaluate(target, at);
  }

  @Override
  public String toString() {
    return name;
  }

  /** The part of {@code operand} that lies in the block, or nothing if {@link #count} is 0. */
  private record Part(int inBlock, int inOperand, int count) {
    static Part of(Operand operand, int block, int length) {
      int from = Math.max(block, operand.start());
      int to = Math.min(block + length, operand.start() + operand.elements());
      return new Part(from - block, from - operand.start(), Math.max(0, to - from));
    }
  }

  /** Float32 arithmetic, for every type but F64. */
  static final class Singles {
    private final BlockKernel kernel;
    private final Chunk chunk;
    private final List<Operand> operands;
    private final float[] change = new float[BLOCK];
    private final float[] term = new float[BLOCK];

    Singles(BlockKernel kernel, Chunk chunk, List<Operand> operands) {
      this.kernel = kernel;
      this.chunk = chunk;
      this.operands = operands;
    }

    /** Merges one operand. */
    static Rounding merge(BlockKernel kernel, Chunk chunk, Operand operand) {
      return new Singles(kernel, chunk, List.of(operand)).merge(operand.start(), operand.start() + operand.elements());
    }

    /** Merges elements {@code from} to {@code to}, exclusive. */
    Rounding merge(int from, int to) {
      long touched = 0;
      long vanished = 0;
      long overflowed = 0;
      long nonFinite = 0;
      for (int block = from; block < to; block += BLOCK) {
        int length = Math.min(BLOCK, to - block);
        if (evaluate(block, length)) {
          Rounding rounding = kernel.round(chunk.dtype(), chunk.bytes(), block, change, length);
          touched += rounding.touched();
          vanished += rounding.vanished();
          overflowed += rounding.overflowed();
          nonFinite += rounding.nonFinite();
        }
      }
      return new Rounding(touched, vanished, overflowed, nonFinite);
    }

    void evaluate(float[] target, int at) {
      for (int block = 0; block < chunk.elements(); block += BLOCK) {
        int length = Math.min(BLOCK, chunk.elements() - block);
        evaluate(block, length);
        for (int i = 0; i < length; i++) {
          change[i] += 0f;
        }
        System.arraycopy(change, 0, target, at + block, length);
      }
    }

    /** Sums the changes of a block; false if no operand lies in it. */
    private boolean evaluate(int block, int length) {
      Arrays.fill(change, 0, length, 0);
      boolean changed = false;
      for (Operand operand : operands) {
        Part part = Part.of(operand, block, length);
        if (part.count() > 0) {
          evaluate(operand, part);
          float factor = (float) operand.factor();
          if (factor != 1) {
            kernel.scale(term, factor, part.count());
          }
          kernel.add(change, part.inBlock(), term, part.count());
          changed = true;
        }
      }
      return changed;
    }

    private void evaluate(Operand operand, Part part) {
      if (operand instanceof Values values) {
        kernel.read(values.dtype(), values.values(), part.inOperand(), term, part.count());
      } else if (operand instanceof Difference difference) {
        kernel.readDifference(
            difference.tunedType(), difference.tuned(), difference.baseType(), difference.base(), part.inOperand(), term, part.count());
      } else if (operand instanceof LowRank product) {
        product(product, part);
      }
    }

    private void product(LowRank operand, Part part) {
      int columns = operand.columns();
      long first = (long) operand.column() + part.inOperand();
      Arrays.fill(term, 0, part.count(), 0);
      int done = 0;
      while (done < part.count()) {
        int row = (int) ((first + done) / columns);
        int column = (int) ((first + done) % columns);
        int run = Math.min(columns - column, part.count() - done);
        kernel.addProducts(term, done, run, operand.left(), row * operand.rank(), operand.rank(), operand.right(), columns, column);
        done += run;
      }
    }
  }

  /** Float64 arithmetic, for F64 alone: through float32 a weight would lose more than its change. */
  private static final class Doubles {
    private final Chunk chunk;
    private final List<Operand> operands;
    private final double[] change = new double[BLOCK];
    private final double[] term = new double[BLOCK];
    private final double[] other = new double[BLOCK];
    private final int[] bits = new int[BLOCK];
    private final float[] floats = new float[BLOCK];
    private final float[] otherFloats = new float[BLOCK];

    Doubles(Chunk chunk, List<Operand> operands) {
      this.chunk = chunk;
      this.operands = operands;
    }

    Rounding merge() {
      Rounding total = Rounding.NONE;
      for (int block = 0; block < chunk.elements(); block += BLOCK) {
        total = total.plus(block(block, Math.min(BLOCK, chunk.elements() - block)));
      }
      return total;
    }

    private Rounding block(int block, int length) {
      Arrays.fill(change, 0, length, 0);
      for (Operand operand : operands) {
        Part part = Part.of(operand, block, length);
        evaluate(operand, part);
        for (int i = 0; i < part.count(); i++) {
          change[part.inBlock() + i] += term[i] * operand.factor();
        }
      }
      ByteBuffer bytes = chunk.bytes();
      long touched = 0;
      long vanished = 0;
      long nonFinite = 0;
      for (int i = 0; i < length; i++) {
        double old = bytes.getDouble(8 * (block + i));
        if (change[i] == 0 || !Double.isFinite(old)) {
          continue;
        }
        double sum = old + change[i];
        touched++;
        if (sum == old) {
          vanished++;
        } else {
          bytes.putDouble(8 * (block + i), sum);
          if (!Double.isFinite(sum)) {
            nonFinite++;
          }
        }
      }
      return new Rounding(touched, vanished, 0, nonFinite);
    }

    /** In float64 only where a side is F64, so that a difference has the same value on whatever weights it is put. */
    private void difference(Difference operand, Part part) {
      int count = part.count();
      if (operand.tunedType() == DType.F64 || operand.baseType() == DType.F64) {
        Floats.read(operand.tunedType(), operand.tuned(), part.inOperand(), term, count, bits, floats);
        Floats.read(operand.baseType(), operand.base(), part.inOperand(), other, count, bits, floats);
        for (int i = 0; i < count; i++) {
          term[i] -= other[i];
        }
      } else {
        Floats.readDifference(
            operand.tunedType(), operand.tuned(), operand.baseType(), operand.base(), part.inOperand(), floats, otherFloats, count, bits);
        for (int i = 0; i < count; i++) {
          term[i] = floats[i];
        }
      }
    }

    private void evaluate(Operand operand, Part part) {
      int count = part.count();
      if (operand instanceof Values values) {
        Floats.read(values.dtype(), values.values(), part.inOperand(), term, count, bits, floats);
      } else if (operand instanceof Difference difference) {
        difference(difference, part);
      } else if (operand instanceof LowRank product) {
        for (int i = 0; i < count; i++) {
          long at = (long) product.column() + part.inOperand() + i;
          int row = (int) (at / product.columns());
          int column = (int) (at % product.columns());
          double sum = 0;
          for (int k = 0; k < product.rank(); k++) {
            sum += (double) product.left()[row * product.rank() + k] * product.right()[k * product.columns() + column];
          }
          term[i] = sum;
        }
      }
    }
  }
}
