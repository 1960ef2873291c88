package io.portllm.internal.quant;

/** The sixteen levels of IQ4_NL and IQ4_XS, which are constants of the format. Elements lie as in Q4_0. */
final class NonLinear {
  private static final byte[] LEVELS = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

  private NonLinear() {}

  static int level(int code) {
    return LEVELS[code];
  }

  /** Reads 32 values. */
  static void read(byte[] codes, int at, float scale, float[] values, int from) {
    for (int j = 0; j < 16; j++) {
      int pair = codes[at + j];
      values[from + j] = scale * LEVELS[pair & 15];
      values[from + 16 + j] = scale * LEVELS[pair >> 4 & 15];
    }
  }
}
