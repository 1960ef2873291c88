package io.portllm.internal.quant;

/**
 * The sixteen values of E2M1 (OCP Microscaling Formats 1.0, section 5.3.3), doubled to be integers, and the search for the nearest one.
 * Scales are half of what the types store, to make up for the doubling. Elements lie as in Q4_0: the first half of a group in the low
 * nibbles.
 */
final class Fp4 {
  private static final byte[] LEVELS = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

  private Fp4() {}

  /** Reads {@code 2·half} values. */
  static void read(byte[] codes, int at, int half, float scale, float[] values, int from) {
    for (int j = 0; j < half; j++) {
      int pair = codes[at + j];
      values[from + j] = LEVELS[pair & 15] * scale;
      values[from + half + j] = LEVELS[pair >> 4 & 15] * scale;
    }
  }

  /**
   * Writes the codes of the nearest values, of two equally near the one of the smaller magnitude.
   *
   * @param scale a power of two, or a value of at most four significant bits, so that the middles between levels are exact
   * @param magnitude the largest of the values' magnitudes
   */
  static void write(float[] values, int from, int half, float scale, float magnitude, byte[] codes, int at) {
    if (magnitude > 0x1p20f * scale) {
      for (int j = 0; j < half; j++) {
        codes[at + j] = (byte) (search(values[from + j], scale) | search(values[from + half + j], scale) << 4);
      }
      return;
    }
    int middle1 = Float.floatToRawIntBits(0.5f * scale);
    int middle2 = Float.floatToRawIntBits(1.5f * scale);
    int middle3 = Float.floatToRawIntBits(2.5f * scale);
    int middle4 = Float.floatToRawIntBits(3.5f * scale);
    int middle5 = Float.floatToRawIntBits(5 * scale);
    int middle6 = Float.floatToRawIntBits(7 * scale);
    int middle7 = Float.floatToRawIntBits(10 * scale);
    for (int j = 0; j < half; j++) {
      int low = Float.floatToRawIntBits(values[from + j]);
      int high = Float.floatToRawIntBits(values[from + half + j]);
      int lowSize = low & 0x7fff_ffff;
      int highSize = high & 0x7fff_ffff;
      // Each difference is negative, its top bit one, where the magnitude is past that middle.
      int lowCode = (middle1 - lowSize >>> 31) + (middle2 - lowSize >>> 31) + (middle3 - lowSize >>> 31) + (middle4 - lowSize >>> 31)
          + (middle5 - lowSize >>> 31) + (middle6 - lowSize >>> 31) + (middle7 - lowSize >>> 31);
      int highCode = (middle1 - highSize >>> 31) + (middle2 - highSize >>> 31) + (middle3 - highSize >>> 31) + (middle4 - highSize >>> 31)
          + (middle5 - highSize >>> 31) + (middle6 - highSize >>> 31) + (middle7 - highSize >>> 31);
      codes[at + j] = (byte) (lowCode | sign(low, lowCode) | (highCode | sign(high, highCode)) << 4);
    }
  }

  /** The sign's bit of a code: zero has none. */
  private static int sign(int bits, int code) {
    return bits >>> 28 & 8 & -code >> 31;
  }

  /** The reference's search, which for values far past the last level, where float32 tells no levels apart, ends at the first code. */
  private static int search(float value, float scale) {
    int best = 0;
    float error = Math.abs(value);
    for (int code = 1; code < 16; code++) {
      float other = Math.abs(LEVELS[code] * scale - value);
      if (other < error) {
        error = other;
        best = code;
      }
    }
    return best;
  }
}
