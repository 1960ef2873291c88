package io.portllm.internal.quant;

/**
 * The twelve bytes of eight scales and eight minimums of six bits that Q4_K and Q5_K have: the first four of each in the low bits of bytes
 * 0 to 3 and 4 to 7; of the last four, the low nibbles in bytes 8 to 11 (scale low, minimum high) and the high two bits above the first
 * four.
 */
final class PackedScales {
  private PackedScales() {}

  static int scale(byte[] block, int at, int group) {
    if (group < 4) {
      return block[at + group] & 63;
    }
    return block[at + group + 4] & 15 | (block[at + group - 4] >> 6 & 3) << 4;
  }

  static int minimum(byte[] block, int at, int group) {
    if (group < 4) {
      return block[at + group + 4] & 63;
    }
    return block[at + group + 4] >> 4 & 15 | (block[at + group] >> 6 & 3) << 4;
  }
}
