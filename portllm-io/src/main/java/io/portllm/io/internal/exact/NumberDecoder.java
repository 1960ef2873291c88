package io.portllm.io.internal.exact;

/** Reads what {@link NumberEncoder} writes. */
final class NumberDecoder {
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
      bits += NumberEncoder.BITS[symbol];
    }
    if (most >= 4 * width) {
      throw new BrokenBlockException("a number has more than " + width + " bits");
    }
    if (bits > 8L * in.remaining()) {
      throw new BrokenBlockException("expected " + bits + " bits of numbers but " + in.remaining() + " bytes are left");
    }
    in.startBits();
    long bit = in.bit();
    byte[] bytes = in.bytes;
    for (int i = 0; i < count; i++) {
      int symbol = symbols[i] & 0xff;
      int size = NumberEncoder.BITS[symbol];
      long rest;
      if (size > 32) {
        rest = ByteReader.bitsAt(bytes, bit) & 0xffffffffL | (ByteReader.bitsAt(bytes, bit + 32) & (1L << size - 32) - 1) << 32;
      } else {
        rest = ByteReader.bitsAt(bytes, bit) & (1L << size) - 1;
      }
      numbers[i] = NumberEncoder.LEAST[symbol] | rest;
      bit += size;
    }
    in.seekBit(bit);
    in.endBits("numbers");
  }
}
