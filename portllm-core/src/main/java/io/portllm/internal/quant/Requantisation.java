package io.portllm.internal.quant;

/** The codes that come nearest with the scales that a block stores, which were rounded after the search. */
final class Requantisation {
  private final float[] quotients = new float[32];

  /** {@code (x + offset) / scale} of a group of up to 32, rounded and bounded. */
  void codes(float[] values, int from, int size, float offset, float scale, int least, int most, int[] target, int at) {
    // Apart from the rounding, which not every compiler makes vector instructions of.
    for (int i = 0; i < size; i++) {
      quotients[i] = (values[from + i] + offset) / scale;
    }
    for (int i = 0; i < size; i++) {
      target[at + i] = NearestInt.of(quotients[i], least, most);
    }
  }
}
