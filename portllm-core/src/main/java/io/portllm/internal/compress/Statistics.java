package io.portllm.internal.compress;

import io.portllm.internal.patch.FloatSource;
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
public record Statistics(long count, long nonFinite, float largest, double magnitudes, double squares) {
  /** Values summed at a time. */
  static final int BLOCK = 1 << 15;

  /** What is given each block of values. */
  interface Visitor {
    void visit(float[] values, int length) throws IOException;
  }

  /** Reads all values, block by block. */
  static void forEachBlock(FloatSource source, long count, Visitor visitor) throws IOException {
    float[] values = new float[(int) Math.min(BLOCK, count)];
    for (long first = 0; first < count; first += BLOCK) {
      int length = (int) Math.min(BLOCK, count - first);
      source.read(first, values, 0, length);
      visitor.visit(values, length);
    }
  }

  /** Reads {@code count} values. */
  public static Statistics of(FloatSource source, long count) throws IOException {
    Sums all = new Sums();
    forEachBlock(source, count, all::add);
    return new Statistics(count, all.nonFinite, all.largest, all.magnitudes, all.squares);
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
