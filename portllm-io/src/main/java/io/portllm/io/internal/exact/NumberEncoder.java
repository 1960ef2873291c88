package io.portllm.io.internal.exact;

/**
 * Writes numbers of up to 64 bits: a symbol for the size of each, and the bits below.
 *
 * <p>A number under 16 is its own symbol. One of 2ᵉ to 2ᵉ⁺¹ − 1 has the symbol 4e + the two bits below its highest, and e − 2 more bits.
 * The symbols come first, as {@link SymbolEncoder} writes them; then the bits of all numbers.
 */
final class NumberEncoder {
  private final SymbolEncoder encoder;
  private final byte[] symbols;
  private long[] numbers;
  private int count;

  /** An encoder of at most {@code capacity} numbers at a time. */
  NumberEncoder(int capacity) {
    this.encoder = new SymbolEncoder(capacity);
    this.symbols = new byte[capacity];
  }

  /** The symbol of a number. */
  static int symbol(long number) {
    if (Long.compareUnsigned(number, 16) < 0) {
      return (int) number;
    }
    int e = 63 - Long.numberOfLeadingZeros(number);
    return (e << 2) + (int) (number >>> e - 2 & 3);
  }

  /** How many more bits the numbers of a symbol have. */
  static int bits(int symbol) {
    return symbol < 16 ? 0 : (symbol >>> 2) - 2;
  }

  /** The least number of a symbol. */
  static long least(int symbol) {
    return symbol < 16 ? symbol : (4L | symbol & 3) << bits(symbol);
  }

  /** Looks at {@code count} numbers, at least one, which must not change before {@link #write}. Returns what they cost in bits. */
  long prepare(long[] numbers, int count) {
    this.numbers = numbers;
    this.count = count;
    long bits = 7;
    for (int i = 0; i < count; i++) {
      int symbol = symbol(numbers[i]);
      symbols[i] = (byte) symbol;
      bits += bits(symbol);
    }
    return bits + encoder.prepare(symbols, count);
  }

  /** Writes the numbers last looked at. */
  void write(ByteWriter out) {
    encoder.write(out);
    for (int i = 0; i < count; i++) {
      int bits = bits(symbols[i] & 0xff);
      if (bits > 32) {
        out.putBits(numbers[i] & 0xffffffffL, 32);
        out.putBits(numbers[i] >>> 32 & (1L << bits - 32) - 1, bits - 32);
      } else if (bits > 0) {
        out.putBits(numbers[i] & (1L << bits) - 1, bits);
      }
    }
    out.endBits();
  }
}
