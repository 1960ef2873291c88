package io.portllm.internal.quant;

/** Eight signs in seven bits: their number is even, so that the eighth follows from the others. */
final class EvenSigns {
  private EvenSigns() {}

  /** The eight signs, of which the first seven are the low bits of {@code bits}; higher bits are ignored. */
  static int of(int bits) {
    int seven = bits & 127;
    return seven | (Integer.bitCount(seven) & 1) << 7;
  }
}
