package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Rounding;
import java.nio.ByteBuffer;

/** The loops in plain Java, which define the bits. */
final class ScalarKernel implements BlockKernel {
  private final int[] oldBits = new int[BLOCK];
  private final int[] newBits = new int[BLOCK];
  private final float[] weights = new float[BLOCK];

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
    for (int i = 0; i < count; i++) {
      sum[at + i] += values[i];
    }
  }

  @Override
  public void addProducts(float[] values, int at, int count, float[] left, int leftAt, int rank, float[] right, int columns, int column) {
    int k = 0;
    // Four steps at a time save loads and stores; each element still adds its products from the first k to the last.
    for (; k + 4 <= rank; k += 4) {
      addFour(values, at, count, left, leftAt + k, right, k * columns + column, columns);
    }
    for (; k < rank; k++) {
      float factor = left[leftAt + k];
      int from = k * columns + column;
      for (int i = 0; i < count; i++) {
        values[at + i] += factor * right[from + i];
      }
    }
  }

  private static void addFour(float[] values, int at, int count, float[] left, int leftAt, float[] right, int from, int columns) {
    float l0 = left[leftAt];
    float l1 = left[leftAt + 1];
    float l2 = left[leftAt + 2];
    float l3 = left[leftAt + 3];
    int from1 = from + columns;
    int from2 = from1 + columns;
    int from3 = from2 + columns;
    for (int i = 0; i < count; i++) {
      values[at + i] =
          (((values[at + i] + l0 * right[from + i]) + l1 * right[from1 + i]) + l2 * right[from2 + i]) + l3 * right[from3 + i];
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
