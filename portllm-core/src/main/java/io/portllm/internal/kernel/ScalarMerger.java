package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;

/**
 * The merger in plain Java, block by block. Defines the bits that every other implementation must give.
 */
public final class ScalarMerger implements Merger {
  public static final ScalarMerger INSTANCE = new ScalarMerger();

  /** Elements worked on at a time: small enough that all arrays of a block stay in the first-level cache. */
  private static final int BLOCK = 1024;

  private ScalarMerger() {}

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    return chunk.dtype() == DType.F64 ? new Doubles(chunk, operands).merge() : new Singles(chunk, operands).merge();
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
  private static final class Singles {
    private final Chunk chunk;
    private final List<Operand> operands;
    private final int[] oldBits = new int[BLOCK];
    private final int[] newBits = new int[BLOCK];
    private final float[] weights = new float[BLOCK];
    private final float[] change = new float[BLOCK];
    private final float[] term = new float[BLOCK];
    private final float[] other = new float[BLOCK];
    private long touched;
    private long vanished;
    private long overflowed;
    private long nonFinite;

    Singles(Chunk chunk, List<Operand> operands) {
      this.chunk = chunk;
      this.operands = operands;
    }

    Rounding merge() {
      for (int block = 0; block < chunk.elements(); block += BLOCK) {
        block(block, Math.min(BLOCK, chunk.elements() - block));
      }
      return new Rounding(touched, vanished, overflowed, nonFinite);
    }

    private void block(int block, int length) {
      Arrays.fill(change, 0, length, 0);
      boolean changed = false;
      for (Operand operand : operands) {
        Part part = Part.of(operand, block, length);
        if (part.count() > 0) {
          evaluate(operand, part);
          scale((float) operand.factor(), part.count());
          for (int i = 0; i < part.count(); i++) {
            change[part.inBlock() + i] += term[i];
          }
          changed = true;
        }
      }
      if (changed) {
        round(block, length);
      }
    }

    private void evaluate(Operand operand, Part part) {
      if (operand instanceof Values values) {
        Floats.read(values.dtype(), values.values(), part.inOperand(), term, part.count(), newBits);
      } else if (operand instanceof Difference difference) {
        Floats.readDifference(
            difference.tunedType(),
            difference.tuned(),
            difference.baseType(),
            difference.base(),
            part.inOperand(),
            term,
            other,
            part.count(),
            newBits);
      } else if (operand instanceof LowRank product) {
        product(product, part);
      }
    }

    private void product(LowRank operand, Part part) {
      int columns = operand.columns();
      int rank = operand.rank();
      float[] right = operand.right();
      long first = (long) operand.column() + part.inOperand();
      int done = 0;
      while (done < part.count()) {
        int row = (int) ((first + done) / columns);
        int column = (int) ((first + done) % columns);
        int run = Math.min(columns - column, part.count() - done);
        Arrays.fill(term, done, done + run, 0);
        int k = 0;
        // Four steps at a time save loads and stores; each element still adds its products from the first k to the last.
        for (; k + 4 <= rank; k += 4) {
          addFour(operand.left(), row * rank + k, right, k * columns + column, columns, done, run);
        }
        for (; k < rank; k++) {
          float left = operand.left()[row * rank + k];
          int from = k * columns + column;
          for (int i = 0; i < run; i++) {
            term[done + i] += left * right[from + i];
          }
        }
        done += run;
      }
    }

    private void addFour(float[] left, int leftAt, float[] right, int from, int columns, int to, int run) {
      float l0 = left[leftAt];
      float l1 = left[leftAt + 1];
      float l2 = left[leftAt + 2];
      float l3 = left[leftAt + 3];
      int from1 = from + columns;
      int from2 = from1 + columns;
      int from3 = from2 + columns;
      for (int i = 0; i < run; i++) {
        term[to + i] = (((term[to + i] + l0 * right[from + i]) + l1 * right[from1 + i]) + l2 * right[from2 + i]) + l3 * right[from3 + i];
      }
    }

    private void scale(float factor, int count) {
      if (factor != 1) {
        for (int i = 0; i < count; i++) {
          term[i] *= factor;
        }
      }
    }

    private void round(int block, int length) {
      DType type = chunk.dtype();
      int special = Floats.specialMask(type);
      Floats.readBits(type, chunk.bytes(), block, oldBits, length);
      Floats.widen(type, oldBits, weights, length);
      for (int i = 0; i < length; i++) {
        weights[i] += change[i];
      }
      Floats.narrow(type, weights, newBits, length);
      for (int i = 0; i < length; i++) {
        if (change[i] == 0 || (oldBits[i] & special) == special) {
          newBits[i] = oldBits[i];
          continue;
        }
        touched++;
        if (newBits[i] == oldBits[i]) {
          vanished++;
        } else if ((newBits[i] & special) == special) {
          if (Float.isFinite(weights[i])) {
            overflowed++;
          } else {
            nonFinite++;
          }
        }
      }
      Floats.writeBits(type, newBits, chunk.bytes(), block, length);
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
