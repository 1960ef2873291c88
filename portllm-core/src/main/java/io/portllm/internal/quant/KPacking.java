package io.portllm.internal.quant;

/** Where the K types keep the bits of 256 codes. */
final class KPacking {
  private KPacking() {}

  /** 64 bytes of the lowest two bits: each half of the block in 32 bytes, of which each holds elements 32 apart. */
  static void twoBits(int[] codes, byte[] target, int at) {
    for (int half = 0; half < 2; half++) {
      for (int l = 0; l < 32; l++) {
        int j = 128 * half + l;
        target[at + 32 * half + l] =
            (byte) (codes[j] & 3 | (codes[j + 32] & 3) << 2 | (codes[j + 64] & 3) << 4 | (codes[j + 96] & 3) << 6);
      }
    }
  }

  /** 128 bytes of the lowest four bits: each quarter of the block in 32 bytes, of which each holds elements 32 apart. */
  static void fourBits(int[] codes, byte[] target, int at) {
    for (int quarter = 0; quarter < 4; quarter++) {
      for (int l = 0; l < 32; l++) {
        int j = 64 * quarter + l;
        target[at + 32 * quarter + l] = (byte) (codes[j] & 15 | (codes[j + 32] & 15) << 4);
      }
    }
  }

  /** 32 bytes of one bit of each code, of which each holds elements 32 apart. */
  static void oneBit(int[] codes, int bit, byte[] target, int at) {
    for (int l = 0; l < 32; l++) {
      int bits = 0;
      for (int k = 0; k < 8; k++) {
        bits |= (codes[32 * k + l] >> bit & 1) << k;
      }
      target[at + l] = (byte) bits;
    }
  }
}
