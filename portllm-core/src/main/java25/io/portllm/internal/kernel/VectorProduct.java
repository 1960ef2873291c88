package io.portllm.internal.kernel;

import io.portllm.Merger.Chunk;
import io.portllm.Merger.LowRank;
import io.portllm.Rounding;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Adds a low-rank product tile by tile: four rows by two vectors of columns, whose sums stay in registers over all ranks. A part of the
 * right factor is copied, in the order in which tiles take it up, and stays in the first-level cache while all rows pass by. Columns
 * that fill no tile are left to {@link ScalarKernel}.
 */
final class VectorProduct {
  private static final VectorSpecies<Float> F = VectorAdder.F;
  private static final int LANES = VectorAdder.LANES;
  private static final int ROWS = 4;
  private static final int TILE = 2 * LANES;

  /** Elements of the part of the right factor: 32 KiB. */
  private static final int PART = 1 << 13;

  private final LowRank product;
  private final boolean dealt;
  private final VectorAdder adder;
  private final float[] left;
  private final float[] right;
  private final float[] change;
  private final int width;
  private final int firstRow;
  private final int lastRow;

  /** Whether a product is large enough. */
  static boolean isFor(LowRank product) {
    return product.rank() > 0 && product.columns() >= TILE && product.elements() >= ROWS * TILE;
  }

  /** Adds a product to weights that {@link VectorAdder#isFor} is true of. */
  VectorProduct(Chunk chunk, LowRank product) {
    this.product = product;
    this.dealt = VectorAdder.step(chunk.dtype()) == TILE;
    this.width = Math.min(product.columns() / TILE, Math.max(1, PART / product.rank() / TILE)) * TILE;
    this.left = new float[ROWS * product.rank()];
    this.right = new float[product.rank() * width];
    this.change = new float[ROWS * width];
    this.firstRow = product.column() / product.columns();
    this.lastRow = (int) (((long) product.column() + product.elements() - 1) / product.columns());
    this.adder = new VectorAdder(chunk, product);
  }

  Rounding merge() {
    int columns = product.columns();
    int tiled = columns - columns % TILE;
    for (int column = 0; column < tiled; column += width) {
      int count = Math.min(width, tiled - column);
      takeRight(column, count);
      for (int row = firstRow; row <= lastRow; row += ROWS) {
        takeLeft(row);
        for (int at = 0; at < count; at += TILE) {
          tile(at, count);
        }
        for (int each = 0; each < ROWS && row + each <= lastRow; each++) {
          add(row + each, column, count, each * count);
        }
      }
    }
    for (int row = firstRow; row <= lastRow && tiled < columns; row++) {
      addScalar(element(row, tiled), element(row, columns));
    }
    return adder.rounding();
  }

  /** Where an element of the matrix lies in the operand, or would lie. */
  private long element(int row, int column) {
    return (long) row * product.columns() + column - product.column();
  }

  /** Adds what lies in the operand of a part of a row, of whole tiles. */
  private void add(int row, int column, int count, int changeAt) {
    long start = element(row, column);
    int from = (int) Math.max(0, -start);
    int to = (int) Math.min(count, product.elements() - start);
    int firstTile = Math.min((from + TILE - 1) / TILE * TILE, Math.max(from, to));
    int end = Math.max(firstTile, to / TILE * TILE);
    addScalar(start + from, start + firstTile);
    if (end > firstTile) {
      adder.add((int) (product.start() + start) + firstTile, change, changeAt + firstTile, end - firstTile);
    }
    addScalar(start + end, start + to);
  }

  private void addScalar(long from, long to) {
    long first = Math.max(0, from);
    long end = Math.min(product.elements(), to);
    if (first < end) {
      adder.addScalar(product.start() + (int) first, (int) (end - first));
    }
  }

  /** Rows past the last are the last once more. */
  private void takeLeft(int row) {
    int rank = product.rank();
    for (int each = 0; each < ROWS; each++) {
      int from = Math.min(row + each, lastRow) * rank;
      for (int k = 0; k < rank; k++) {
        left[k * ROWS + each] = product.left()[from + k];
      }
    }
  }

  /** Copies columns, tile by tile, each with its ranks one after the other. */
  private void takeRight(int column, int count) {
    int to = 0;
    for (int at = column; at < column + count; at += TILE) {
      for (int k = 0; k < product.rank(); k++) {
        int from = k * product.columns() + at;
        if (dealt) {
          for (int i = 0; i < LANES; i++) {
            right[to + i] = product.right()[from + 2 * i];
            right[to + LANES + i] = product.right()[from + 2 * i + 1];
          }
        } else {
          System.arraycopy(product.right(), from, right, to, TILE);
        }
        to += TILE;
      }
    }
  }

  /** The changes of a tile. Each element adds its products from the first rank to the last. */
  private void tile(int at, int count) {
    float[] lefts = left;
    float[] rights = right;
    int rank = product.rank();
    int first = at * rank;
    FloatVector a0 = FloatVector.zero(F);
    FloatVector a1 = a0;
    FloatVector b0 = a0;
    FloatVector b1 = a0;
    FloatVector c0 = a0;
    FloatVector c1 = a0;
    FloatVector d0 = a0;
    FloatVector d1 = a0;
    for (int k = 0; k < rank; k++) {
      FloatVector right0 = FloatVector.fromArray(F, rights, first + k * TILE);
      FloatVector right1 = FloatVector.fromArray(F, rights, first + k * TILE + LANES);
      FloatVector a = FloatVector.broadcast(F, lefts[k * ROWS]);
      a0 = a0.add(a.mul(right0));
      a1 = a1.add(a.mul(right1));
      FloatVector b = FloatVector.broadcast(F, lefts[k * ROWS + 1]);
      b0 = b0.add(b.mul(right0));
      b1 = b1.add(b.mul(right1));
      FloatVector c = FloatVector.broadcast(F, lefts[k * ROWS + 2]);
      c0 = c0.add(c.mul(right0));
      c1 = c1.add(c.mul(right1));
      FloatVector d = FloatVector.broadcast(F, lefts[k * ROWS + 3]);
      d0 = d0.add(d.mul(right0));
      d1 = d1.add(d.mul(right1));
    }
    a0.intoArray(change, at);
    a1.intoArray(change, at + LANES);
    b0.intoArray(change, count + at);
    b1.intoArray(change, count + at + LANES);
    c0.intoArray(change, 2 * count + at);
    c1.intoArray(change, 2 * count + at + LANES);
    d0.intoArray(change, 3 * count + at);
    d1.intoArray(change, 3 * count + at + LANES);
  }
}
