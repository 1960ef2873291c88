package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.NE;

import io.portllm.DType;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.LowRank;
import io.portllm.Rounding;
import java.lang.foreign.MemorySegment;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Adds a low-rank product to BF16 or F32 weights, tile by tile: four rows by two vectors of columns, whose sums stay in registers over all
 * ranks. A part of the right factor is copied, in the order in which tiles take it up, and stays in the first-level cache while all rows
 * pass by. Tiles of BF16 weights hold their even columns in one vector and their odd ones in the other, as {@link VectorRun} takes words
 * apart. Rows and columns that fill no tile, and steps that hold anything infinite or NaN, are left to the other loops.
 */
final class VectorProduct {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = F.vectorShape().withLanes(int.class);
  private static final int LANES = F.length();
  private static final int ROWS = 4;
  private static final int TILE = 2 * LANES;

  /** Elements of the part of the right factor: 32 KiB. */
  private static final int PART = 1 << 13;

  private final Chunk chunk;
  private final LowRank product;
  private final MemorySegment weights;
  private final boolean halves;
  private final BlockMerger.Singles others;
  private final float[] left;
  private final float[] right;
  private final float[] change;
  private final int width;
  private Rounding rounding = Rounding.NONE;
  private long touched;
  private long moved;

  /** Whether a product is large enough to be so added to BF16 or F32 weights. */
  static boolean isFor(LowRank product) {
    return product.rank() > 0 && product.columns() >= TILE && product.elements() / product.columns() >= ROWS;
  }

  VectorProduct(Chunk chunk, LowRank product) {
    this.chunk = chunk;
    this.product = product;
    this.weights = VectorKernel.segment(chunk.bytes());
    this.halves = chunk.dtype() == DType.BF16;
    this.others = new BlockMerger.Singles(new VectorKernel(), chunk, List.of(product));
    this.width = Math.min(product.columns() / TILE, Math.max(1, PART / product.rank() / TILE)) * TILE;
    this.left = new float[ROWS * product.rank()];
    this.right = new float[product.rank() * width];
    this.change = new float[ROWS * width];
  }

  Rounding merge() {
    int columns = product.columns();
    int start = product.start() + Math.floorMod(-product.column(), columns);
    int end = product.start() + product.elements();
    int firstRow = (product.column() + start - product.start()) / columns;
    int rows = (end - start) / columns / ROWS * ROWS;
    int tiled = columns - columns % TILE;
    for (int column = 0; column < tiled; column += width) {
      int count = Math.min(width, tiled - column);
      takeRight(column, count);
      for (int row = 0; row < rows; row += ROWS) {
        takeLeft(firstRow + row);
        for (int at = 0; at < count; at += TILE) {
          tile(at, count);
        }
        for (int each = 0; each < ROWS; each++) {
          settle(start + (row + each) * columns + column, each * count, count);
        }
      }
    }
    others(product.start(), start);
    others(start + rows * columns, end);
    for (int row = 0; row < rows && tiled < columns; row++) {
      others(start + row * columns + tiled, start + (row + 1) * columns);
    }
    return new Rounding(touched, touched - moved, 0, 0).plus(rounding);
  }

  private void others(int from, int to) {
    rounding = rounding.plus(others.merge(from, to));
  }

  private void takeLeft(int row) {
    int rank = product.rank();
    for (int each = 0; each < ROWS; each++) {
      for (int k = 0; k < rank; k++) {
        left[k * ROWS + each] = product.left()[(row + each) * rank + k];
      }
    }
  }

  private void takeRight(int column, int count) {
    int to = 0;
    for (int at = column; at < column + count; at += TILE) {
      for (int k = 0; k < product.rank(); k++) {
        int from = k * product.columns() + at;
        if (halves) {
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

  /** Adds changes to {@code count} elements. */
  private void settle(int element, int from, int count) {
    int step = halves ? TILE : LANES;
    for (int done = 0; done < count; ) {
      done = halves ? bf16(element, from, done, count) : f32(element, from, done, count);
      if (done < count) {
        others(element + done, element + done + step);
        done += step;
      }
    }
  }

  private int bf16(int element, int changeAt, int from, int to) {
    MemorySegment target = weights;
    float[] changes = change;
    float factor = (float) product.factor();
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += TILE) {
      IntVector old = IntVector.fromMemorySegment(I, target, 2L * (element + i), LITTLE_ENDIAN);
      FloatVector lowChange = FloatVector.fromArray(F, changes, changeAt + i).mul(factor);
      FloatVector highChange = FloatVector.fromArray(F, changes, changeAt + i + LANES).mul(factor);
      IntVector lowSum = VectorRun.low(old).add(lowChange).reinterpretAsInts();
      IntVector highSum = VectorRun.high(old).add(highChange).reinterpretAsInts();
      if (lowSum.and(VectorRun.MAGNITUDE).max(highSum.and(VectorRun.MAGNITUDE)).compare(GE, VectorRun.BF16_OVERFLOW).anyTrue()) {
        break;
      }
      VectorMask<Integer> lowTouched = lowChange.compare(NE, 0f).cast(I);
      VectorMask<Integer> highTouched = highChange.compare(NE, 0f).cast(I);
      IntVector lowNew = old.lanewise(LSHL, 16).blend(VectorRun.rounded(lowSum), lowTouched);
      IntVector result = lowNew.lanewise(LSHR, 16).or(old.blend(VectorRun.rounded(highSum), highTouched).and(0xffff_0000));
      result.intoMemorySegment(target, 2L * (element + i), LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int f32(int element, int changeAt, int from, int to) {
    MemorySegment target = weights;
    float[] changes = change;
    float factor = (float) product.factor();
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, 4L * (element + i), LITTLE_ENDIAN);
      FloatVector added = FloatVector.fromArray(F, changes, changeAt + i).mul(factor);
      IntVector sum = old.reinterpretAsFloats().add(added).reinterpretAsInts();
      if (sum.and(VectorRun.MAGNITUDE).compare(GE, VectorRun.INFINITY).anyTrue()) {
        break;
      }
      VectorMask<Integer> isNonZero = added.compare(NE, 0f).cast(I);
      IntVector result = old.blend(sum, isNonZero);
      result.intoMemorySegment(target, 4L * (element + i), LITTLE_ENDIAN);
      nonZero += isNonZero.trueCount();
      different += result.compare(NE, old).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }
}
