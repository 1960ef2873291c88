package io.portllm.internal.quant;

/** Small steps that several types share. */
final class Rounds {
  private Rounds() {}

  /** 1 / scale, or 0 for a scale of 0. Infinite for scales below 2^-128. */
  static float reciprocal(float scale) {
    return scale == 0 ? 0 : 1 / scale;
  }

  /** The nearest integer, ties away from zero, of a value that fits an int. */
  static int halfAway(float value) {
    // The float below 0.5: with 0.5 itself the sum for 0.49999997 would round up to 1.
    return (int) (value + Math.copySign(0x1.fffffep-2f, value));
  }
}
