package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Reads the changes of blocks into {@link Planes}. */
final class StagedOperands {
  /** Ranks of which the right factor's rows are copied at a time. */
  private static final int RANKS = 64;

  private final Planes planes;
  private final ScalarKernel scalar = new ScalarKernel();
  private final int[] raw = new int[Planes.BLOCK];
  private final int[][] bits;
  private final float[] other = new float[Planes.BLOCK];
  private short[] halves;
  private float[][] rows;
  private float[] rowsOf;
  private int rowsFrom;
  private int rowsWidth;
  private boolean special;

  StagedOperands(Planes planes) {
    this.planes = planes;
    this.bits = planes.words();
  }

  /** Takes up operands of another run. */
  void begin() {
    rowsOf = null;
  }

  /** Takes up another block. */
  void beginBlock() {
    special = false;
  }

  /** Whether an F16 that was read for the block is infinite or NaN, which its float32 does not tell. */
  boolean anySpecial() {
    return special;
  }

  /** Reads {@code length} changes from the operand's element {@code first} on, times the operand's factor. */
  void read(Merger.Operand operand, int first, float[] values, int length) {
    if (operand instanceof Merger.Values stored) {
      read(stored.dtype(), stored.values(), first, values, length);
    } else if (operand instanceof Merger.Difference difference) {
      difference(difference, first, values, length);
    } else if (operand instanceof Merger.LowRank product) {
      product(product, first, values, length);
    }
    float factor = (float) operand.factor();
    if (factor != 1) {
      Loops.scale(values, factor, length);
    }
  }

  private void difference(Merger.Difference operand, int first, float[] values, int length) {
    if (operand.tunedType() == DType.F64 || operand.baseType() == DType.F64) {
      for (int at = 0; at < length; at += BlockKernel.BLOCK) {
        int count = Math.min(BlockKernel.BLOCK, length - at);
        scalar.readDifference(operand.tunedType(), operand.tuned(), operand.baseType(), operand.base(), first + at, other, count);
        System.arraycopy(other, 0, planes.inOrder(), at, count);
      }
      planes.deal(values, length);
    } else {
      read(operand.tunedType(), operand.tuned(), first, values, length);
      read(operand.baseType(), operand.base(), first, other, length);
      Loops.subtract(values, other, length);
    }
  }

  private void read(DType type, ByteBuffer source, int first, float[] values, int length) {
    ByteBuffer bytes = source.duplicate().position(0).order(ByteOrder.LITTLE_ENDIAN);
    if (type == DType.BF16 && planes.count() == 2 && first % 2 == 0) {
      int n = length / 2;
      bytes.asIntBuffer().get(first / 2, raw, 0, n);
      Loops.shiftLeft(raw, 16, bits[0], n);
      Loops.and(raw, 0xffff_0000, bits[1], n);
      planes.toFloats(bits, values, length);
    } else if (type == DType.F16 && planes.count() == 2 && first % 2 == 0) {
      int n = length / 2;
      bytes.asIntBuffer().get(first / 2, raw, 0, n);
      special |= planes.widenF16(raw, bits, values, length);
    } else if (type == DType.F32) {
      bytes.asFloatBuffer().get(first, planes.inOrder(), 0, length);
      planes.deal(values, length);
    } else if (type == DType.BF16) {
      halves = halves == null ? new short[Planes.BLOCK] : halves;
      bytes.asShortBuffer().get(first, halves, 0, length);
      for (int i = 0; i < length; i++) {
        planes.inOrder()[i] = Float.intBitsToFloat(halves[i] << 16);
      }
      planes.deal(values, length);
    } else {
      Floats.read(type, source, first, planes.inOrder(), length, raw);
      planes.deal(values, length);
    }
  }

  private void product(Merger.LowRank operand, int first, float[] values, int length) {
    int columns = operand.columns();
    long from = (long) operand.column() + first;
    if (from % columns + length <= columns && operand.rank() <= RANKS) {
      Arrays.fill(values, 0, length, 0);
      addRows(operand, (int) (from / columns) * operand.rank(), (int) (from % columns), values, length);
      return;
    }
    float[] sums = planes.inOrder();
    Arrays.fill(sums, 0, length, 0);
    for (int done = 0; done < length; ) {
      int left = (int) ((from + done) / columns) * operand.rank();
      int column = (int) ((from + done) % columns);
      int run = Math.min(columns - column, length - done);
      scalar.addProducts(sums, done, run, operand.left(), left, operand.rank(), operand.right(), columns, column);
      done += run;
    }
    planes.deal(values, length);
  }

  /** Adds the products of one row. The rows of the right factor are arrays of their own, in planes, so that one index leads through all. */
  private void addRows(Merger.LowRank operand, int leftAt, int column, float[] sums, int length) {
    stage(operand, column, length);
    float[] left = operand.left();
    int k = 0;
    for (; k + 4 <= operand.rank(); k += 4) {
      Loops.addFour(sums, left, leftAt + k, rows[k], rows[k + 1], rows[k + 2], rows[k + 3], length);
    }
    for (; k < operand.rank(); k++) {
      Loops.addProduct(sums, left[leftAt + k], rows[k], length);
    }
  }

  private void stage(Merger.LowRank operand, int column, int length) {
    if (rowsOf == operand.right() && rowsFrom == column && rowsWidth == length) {
      return;
    }
    if (rows == null || rows.length < operand.rank()) {
      rows = new float[operand.rank()][Planes.BLOCK];
    }
    for (int k = 0; k < operand.rank(); k++) {
      System.arraycopy(operand.right(), k * operand.columns() + column, planes.inOrder(), 0, length);
      planes.deal(rows[k], length);
    }
    rowsOf = operand.right();
    rowsFrom = column;
    rowsWidth = length;
  }
}
