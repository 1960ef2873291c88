package io.portllm.internal.quant;

/** The sixteen levels of IQ4_NL and IQ4_XS, which are constants of the format. Elements lie as in Q4_0. */
final class NonLinear {
  private static final byte[] LEVELS = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

  private NonLinear() {}

  static int level(int code) {
    return LEVELS[code];
  }

  /** The code of the nearest level, by ggml's {@code best_index_int8}: halfway between levels the upper one's, and of NaN the last. */
  static int code(float value) {
    if (value <= LEVELS[0]) {
      return 0;
    }
    int upper = 1;
    while (upper < 15 && !(value < LEVELS[upper])) {
      upper++;
    }
    return value - LEVELS[upper - 1] < LEVELS[upper] - value ? upper - 1 : upper;
  }

  /** Writes the codes of 32 values. */
  static void write(float[] values, int from, float inverse, byte[] codes, int at) {
    for (int j = 0; j < 16; j++) {
      codes[at + j] = (byte) (code(inverse * values[from + j]) | code(inverse * values[from + 16 + j]) << 4);
    }
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
