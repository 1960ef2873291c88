package io.portllm.io.internal.exact;

/** Reads what {@link NumberEncoder} writes. */
final class NumberDecoder {
  private static final String BITS = "numbers";

  private final SymbolDecoder decoder = new SymbolDecoder();
  private final byte[] symbols;

  NumberDecoder(int capacity) {
    this.symbols = new byte[capacity];
  }

  /**
   * Reads {@code count} numbers, at least one.
   *
   * @param width the bits that each number has at most
   */
  void read(ByteReader in, long[] numbers, int count, int width) throws BrokenBlockException {
    decoder.read(in, symbols, count);
    long bits = 0;
    int most = 0;
    for (int i = 0; i < count; i++) {
      int symbol = symbols[i] & 0xff;
      most = Math.max(most, symbol);
      bits += NumberEncoder.bits(symbol);
    }
    if (most >= 4 * width) {
      throw new BrokenBlockException("a number has more than " + width + " bits");
    }
    if (bits > 8L * in.remaining()) {
      throw new BrokenBlockException("expected " + bits + " bits of numbers but " + in.remaining() + " bytes are left");
    }
    in.startBits();
    for (int i = 0; i < count; i++) {
      int symbol = symbols[i] & 0xff;
      if (symbol < 16) {
        numbers[i] = symbol;
        continue;
      }
      int size = NumberEncoder.bits(symbol);
      long low = size > 32 ? in.uncheckedBits(32) | in.uncheckedBits(size - 32) << 32 : in.uncheckedBits(size);
      numbers[i] = NumberEncoder.least(symbol) | low;
    }
    in.endBits(BITS);
  }
}
