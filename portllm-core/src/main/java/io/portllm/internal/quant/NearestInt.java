package io.portllm.internal.quant;

/**
 * Rounding to whole numbers, halves to even, by adding a number so large that a float has no bits left for the fraction (ggml's
 * {@code nearest_int}).
 */
final class NearestInt {
  /** 1.5 · 2^23: floats from 2^23 to 2^24 are the whole numbers, and values of either sign stay between them. */
  static final float MAGIC = 12582912f;

  private NearestInt() {}

  /**
   * The nearest integer of values up to 2^22. Of anything larger, infinite or NaN, what the bits of the sum then say: ggml does the same,
   * and blocks of extreme values depend on it.
   */
  static int of(float value) {
    return (Float.floatToRawIntBits(value + MAGIC) & 0x7f_ffff) - 0x40_0000;
  }

  /** {@link #of} within bounds. */
  static int of(float value, int least, int most) {
    return Math.max(least, Math.min(most, of(value)));
  }
}
