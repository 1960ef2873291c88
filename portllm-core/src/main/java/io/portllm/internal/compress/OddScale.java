package io.portllm.internal.compress;

import io.portllm.compress.Compression;
import io.portllm.internal.codes.CodeLayout;
import io.portllm.internal.merge.Elements;
import java.io.IOException;

/**
 * Scales of codes that are odd numbers. Starts with the best scale of a normal distribution, and improves it for the values at hand: codes
 * by the scale, then the scale by least squares from the codes (Lloyd, 1982).
 */
final class OddScale {
  /**
   * Half the best step of a uniform quantiser of a normal distribution (Max, 1960), 0.5860 and 0.9957 σ, by its mean magnitude, √(2/π) σ.
   */
  private static final double OF_THREE_BITS = 0.36722;

  private static final double OF_TWO_BITS = 0.62396;

  private OddScale() {}

  /** Whether scales are fitted: of a single bit, the first one is the best. */
  static boolean isOf(CodeLayout layout) {
    return layout.bits() == 2 || layout.bits() == 3;
  }

  /** The first scale for values of this mean magnitude. */
  static float first(CodeLayout layout, double mean) {
    return (float) (layout.bits() == 3 ? OF_THREE_BITS * mean : layout.bits() == 2 ? OF_TWO_BITS * mean : mean);
  }

  /** The nearest code; of a value in the middle, the greater. */
  static int code(CodeLayout layout, float value, float scale) {
    if (scale == 0) {
      return 1;
    }
    double code = 2 * Math.floor(value / (2 * scale)) + 1;
    return (int) Math.max(-layout.largest(), Math.min(layout.largest(), code));
  }

  /** The scale fitted to some values. */
  static float fit(CodeLayout layout, float first, float[] values, int from, int to) {
    float scale = first;
    for (int i = 0; i < Compression.Bits.ITERATIONS; i++) {
      double[] sums = new double[2];
      add(layout, scale, values, from, to, sums);
      scale = (float) (sums[0] / sums[1]);
    }
    return scale;
  }

  /** The scale fitted to all values, in a pass for each iteration. */
  static float fit(CodeLayout layout, float first, Elements source) throws IOException {
    float scale = first;
    for (int i = 0; i < Compression.Bits.ITERATIONS; i++) {
      float current = scale;
      double[] sums = new double[2];
      Statistics.forEachBlock(source, (values, length) -> add(layout, current, values, 0, length, sums));
      scale = (float) (sums[0] / sums[1]);
    }
    return scale;
  }

  private static void add(CodeLayout layout, float scale, float[] values, int from, int to, double[] sums) {
    double products = 0;
    long squares = 0;
    for (int i = from; i < to; i++) {
      int code = code(layout, values[i], scale);
      products += (double) values[i] * code;
      squares += (long) code * code;
    }
    sums[0] += products;
    sums[1] += squares;
  }
}
