package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Rounding;
import java.nio.ByteBuffer;

/**
 * The loops of float32 merging over a block that stays in the first-level cache. Implementations give the same bits; they are stateless
 * apart from {@link #round}'s scratch and are used by one thread at a time.
 */
interface BlockKernel {
  /** Elements worked on at a time. */
  int BLOCK = 1024;

  /** Reads elements of any arithmetic type as float32; F64 is rounded. */
  void read(DType type, ByteBuffer source, int start, float[] values, int count);

  /** Reads the differences of two runs as float32: taken in float32, or in float64 and then rounded if either run is F64. */
  void readDifference(DType type, ByteBuffer source, DType minusType, ByteBuffer minus, int start, float[] values, int count);

  /** Multiplies {@code count} values by {@code factor}. */
  void scale(float[] values, float factor, int count);

  /** Adds {@code count} values to those from {@code at} on. */
  void add(float[] sum, int at, float[] values, int count);

  /**
   * Adds products of one row: {@code values[at + i] += Σₖ left[leftAt + k] · right[k · columns + column + i]}, each element from the
   * first k to the last.
   */
  void addProducts(float[] values, int at, int count, float[] left, int leftAt, int rank, float[] right, int columns, int column);

  /**
   * Adds changes to elements of a chunk and rounds them in place, as {@link io.portllm.Merger} defines it.
   *
   * @return what rounding did
   */
  Rounding round(DType type, ByteBuffer chunk, int start, float[] change, int count);
}
