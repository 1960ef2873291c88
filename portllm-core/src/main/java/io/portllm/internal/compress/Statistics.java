package io.portllm.internal.compress;

import io.portllm.internal.merge.Elements;
import java.io.IOException;

/**
 * What one pass over a list of values finds. Sums are taken in float64 within blocks of {@link #BLOCK} values, and the blocks' sums added in
 * their order.
 *
 * @param count how many values there are
 * @param nonFinite how many of them are infinite or NaN
 * @param largest the largest magnitude
 * @param magnitudes the sum of magnitudes
 * @param squares the sum of squares
 */
record Statistics(long count, long nonFinite, float largest, double magnitudes, double squares) {
  /** Values summed at a time. */
  static final int BLOCK = 1 << 15;

  /** What is given each block of values. */
  interface Visitor {
    void visit(float[] values, int length) throws IOException;
  }

  /** Reads all values, block by block. */
  static void forEachBlock(Elements source, Visitor visitor) throws IOException {
    long count = source.count();
    float[] values = new float[(int) Math.min(BLOCK, count)];
    for (long first = 0; first < count; first += BLOCK) {
      int length = (int) Math.min(BLOCK, count - first);
      source.read(first, length, values);
      visitor.visit(values, length);
    }
  }

  /** Reads all values. */
  static Statistics of(Elements source) throws IOException {
    Sums all = new Sums();
    forEachBlock(source, all::add);
    return new Statistics(source.count(), all.nonFinite, all.largest, all.magnitudes, all.squares);
  }

  private static final class Sums {
    private long nonFinite;
    private float largest;
    private double magnitudes;
    private double squares;

    void add(float[] values, int length) {
      double blockMagnitudes = 0;
      double blockSquares = 0;
      for (int i = 0; i < length; i++) {
        double value = values[i];
        if (!Double.isFinite(value)) {
          nonFinite++;
          continue;
        }
        largest = Math.max(largest, Math.abs(values[i]));
        blockMagnitudes += Math.abs(value);
        blockSquares += value * value;
      }
      magnitudes += blockMagnitudes;
      squares += blockSquares;
    }
  }
}
