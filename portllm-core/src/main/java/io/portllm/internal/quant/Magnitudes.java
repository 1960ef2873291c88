package io.portllm.internal.quant;

/** Weights without their signs. */
final class Magnitudes {
  private Magnitudes() {}

  /** Writes eight magnitudes; returns the signs, bit i of value i. A zero of either sign has none, as in ggml. */
  static int of(float[] values, int from, float[] target, int at) {
    int signs = 0;
    for (int i = 0; i < 8; i++) {
      float x = values[from + i];
      target[at + i] = Math.abs(x);
      signs |= (x < 0 ? 1 : 0) << i;
    }
    return signs;
  }

  static float most(float[] values) {
    float most = values[0];
    for (float value : values) {
      most = Math.max(most, value);
    }
    return most;
  }

  /** The sum of the squares of a block of 256 weights. */
  static float squares(float[] values, int from) {
    float sum = 0;
    for (int i = from; i < from + 256; i++) {
      sum += values[i] * values[i];
    }
    return sum;
  }
}
