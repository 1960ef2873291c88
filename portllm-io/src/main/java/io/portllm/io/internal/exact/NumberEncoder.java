package io.portllm.io.internal.exact;

/**
 * Writes numbers of up to 64 bits: a symbol for the size of each, and the bits below.
 *
 * <p>A number under 16 is its own symbol. One of 2ᵉ to 2ᵉ⁺¹ − 1 has the symbol 4e + the two bits below its highest, and e − 2 more bits.
 * The symbols come first, as {@link SymbolEncoder} writes them; then the bits of all numbers.
 */
final class NumberEncoder {
  /** By symbol: how many more bits its numbers have. */
  static final int[] BITS = new int[256];
  /** By symbol: the least of its numbers. */
  static final long[] LEAST = new long[256];

  static {
    for (int symbol = 0; symbol < 256; symbol++) {
      BITS[symbol] = symbol < 16 ? 0 : (symbol >>> 2) - 2;
      LEAST[symbol] = symbol < 16 ? symbol : (4L | symbol & 3) << BITS[symbol];
    }
  }

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
    int e = 63 - Long.numberOfLeadingZeros(number | 8);
    int large = (e << 2) + (int) (number >>> e - 2 & 3);
    return number >>> 4 == 0 ? (int) number : large;
  }

  /** Looks at {@code count} numbers, at least one, which must not change before {@link #write}. Returns what they cost in bits. */
  long prepare(long[] numbers, int count) {
    this.numbers = numbers;
    this.count = count;
    long bits = 7;
    for (int i = 0; i < count; i++) {
      int symbol = symbol(numbers[i]);
      symbols[i] = (byte) symbol;
      bits += BITS[symbol];
    }
    return bits + encoder.prepare(symbols, count);
  }

  /** Writes the numbers last looked at. */
  void write(ByteWriter out) {
    encoder.write(out);
    for (int i = 0; i < count; i++) {
      int symbol = symbols[i] & 0xff;
      int bits = BITS[symbol];
      long rest = numbers[i] - LEAST[symbol];
      if (bits > 32) {
        out.putBits(rest & 0xffffffffL, 32);
        out.putBits(rest >>> 32, bits - 32);
      } else {
        out.putBits(rest, bits);
      }
    }
    out.endBits();
  }
}
