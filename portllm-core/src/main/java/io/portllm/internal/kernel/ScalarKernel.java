package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Rounding;
import java.nio.ByteBuffer;

/** The loops in plain Java, which define the bits. */
final class ScalarKernel implements BlockKernel {
  private final int[] oldBits = new int[BLOCK];
  private final int[] newBits = new int[BLOCK];
  private final float[] weights = new float[BLOCK];
  private final float[] sums = new float[BLOCK];
  private final float[][] rows = new float[4][BLOCK];

  @Override
  public void read(DType type, ByteBuffer source, int start, float[] values, int count) {
    Floats.read(type, source, start, values, count, newBits);
  }

  @Override
  public void readDifference(DType type, ByteBuffer source, DType minusType, ByteBuffer minus, int start, float[] values, int count) {
    Floats.readDifference(type, source, minusType, minus, start, values, weights, count, newBits);
  }

  @Override
  public void scale(float[] values, float factor, int count) {
    for (int i = 0; i < count; i++) {
      values[i] *= factor;
    }
  }

  @Override
  public void add(float[] sum, int at, float[] values, int count) {
    if (at == 0) {
      addOne(sum, 1, values, count);
      return;
    }
    for (int i = 0; i < count; i++) {
      sum[at + i] += values[i];
    }
  }

  /** Copies what it works on to index 0 of blocks: loops that use one index alone are the ones that all JDKs make vectors of. */
  @Override
  public void addProducts(float[] values, int at, int count, float[] left, int leftAt, int rank, float[] right, int columns, int column) {
    for (int block = 0; block < count; block += BLOCK) {
      int length = Math.min(BLOCK, count - block);
      System.arraycopy(values, at + block, sums, 0, length);
      int k = 0;
      // Four steps at a time save loads and stores; each element still adds its products from the first k to the last.
      for (; k + 4 <= rank; k += 4) {
        for (int i = 0; i < 4; i++) {
          System.arraycopy(right, (k + i) * columns + column + block, rows[i], 0, length);
        }
        addFour(sums, left, leftAt + k, rows[0], rows[1], rows[2], rows[3], length);
      }
      for (; k < rank; k++) {
        System.arraycopy(right, k * columns + column + block, rows[0], 0, length);
        addOne(sums, left[leftAt + k], rows[0], length);
      }
      System.arraycopy(sums, 0, values, at + block, length);
    }
  }

  private static void addFour(float[] sums, float[] left, int at, float[] row0, float[] row1, float[] row2, float[] row3, int count) {
    float factor0 = left[at];
    float factor1 = left[at + 1];
    float factor2 = left[at + 2];
    float factor3 = left[at + 3];
    for (int i = 0; i < count; i++) {
      sums[i] = (((sums[i] + factor0 * row0[i]) + factor1 * row1[i]) + factor2 * row2[i]) + factor3 * row3[i];
    }
  }

  private static void addOne(float[] sums, float factor, float[] row, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += factor * row[i];
    }
  }

  @Override
  public Rounding round(DType type, ByteBuffer chunk, int start, float[] change, int count) {
    int special = Floats.specialMask(type);
    Floats.readBits(type, chunk, start, oldBits, count);
    Floats.widen(type, oldBits, weights, count);
    for (int i = 0; i < count; i++) {
      weights[i] += change[i];
    }
    Floats.narrow(type, weights, newBits, count);
    long touched = 0;
    long vanished = 0;
    long overflowed = 0;
    long nonFinite = 0;
    for (int i = 0; i < count; i++) {
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
    Floats.writeBits(type, newBits, chunk, start, count);
    return new Rounding(touched, vanished, overflowed, nonFinite);
  }
}
