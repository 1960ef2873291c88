package io.portllm.io.internal.exact;

import java.util.Arrays;

/**
 * Writes byte symbols with as many bits as their frequencies call for: rANS with two interleaved states.
 *
 * <pre>
 * stream    = 0 symbols                            each a byte, as they are
 *           | 1 symbol                             all the same
 *           | 2 table words state state word*      rANS
 * table     = last (8 bits) frequency+             of the symbols 0 to last, in Elias' gamma code of frequency + 1; they add up to 4096
 * words     = varint, the number of words
 * state     = u32, of the even symbols, then of the odd ones
 * word      = u16
 * </pre>
 *
 * Numbers are little-endian; the bits of the table fill bytes from the lowest on, and the last byte is filled with zeros. How many symbols
 * there are is known from elsewhere. A state s decodes its next symbol by s mod 4096, becomes frequency · (s div 4096) + s mod 4096 −
 * (sum of the frequencies of lesser symbols), and takes in a word if it is then less than 2¹⁵. Both states end at 2¹⁵.
 */
final class SymbolEncoder {
  static final int RAW = 0;
  static final int SAME = 1;
  static final int RANS = 2;

  static final int SCALE_BITS = 12;
  static final int SCALE = 1 << SCALE_BITS;
  static final int LOWEST_STATE = 1 << 15;

  /** The cost of a symbol of frequency f in 1/65536 bits; by StrictMath, so that every JVM makes the same choices. */
  private static final int[] COST = new int[SCALE + 1];

  static {
    COST[0] = 0;
    for (int f = 1; f <= SCALE; f++) {
      COST[f] = (int) (65536 * (SCALE_BITS - StrictMath.log(f) / StrictMath.log(2)));
    }
  }

  private final int[] histogram = new int[256];
  private final int[] frequency = new int[256];
  private final int[] start = new int[256];
  private final long[] reciprocal = new long[256];
  private final int[] reciprocalShift = new int[256];
  private final short[] words;
  private byte[] symbols;
  private int count;
  private int last;

  /** An encoder of at most {@code capacity} symbols at a time. */
  SymbolEncoder(int capacity) {
    this.words = new short[capacity + 2];
  }

  /** Looks at {@code count} symbols, at least one, which must not change before {@link #write}. Returns what they cost in bits. */
  long prepare(byte[] symbols, int count) {
    this.symbols = symbols;
    this.count = count;
    Arrays.fill(histogram, 0);
    for (int i = 0; i < count; i++) {
      histogram[symbols[i] & 0xff]++;
    }
    last = 255;
    while (histogram[last] == 0) {
      last--;
    }
    if (isSame()) {
      return 16;
    }
    normalise();
    return Math.min(ransBits(), rawBits());
  }

  private boolean isSame() {
    return histogram[last] == count;
  }

  private long rawBits() {
    return 8 + 8L * count;
  }

  private long ransBits() {
    long bits = 0;
    int table = 8;
    for (int s = 0; s <= last; s++) {
      bits += (long) histogram[s] * COST[frequency[s]];
      table += 2 * (32 - Integer.numberOfLeadingZeros(frequency[s] + 1)) - 1;
    }
    return (bits >>> 16) + table + 8 + 16 + 64;
  }

  /** Frequencies that add up to the scale, at least 1 for each symbol that occurs. */
  private void normalise() {
    int sum = 0;
    for (int s = 0; s < 256; s++) {
      int scaled = (int) (((long) histogram[s] * SCALE + count / 2) / count);
      frequency[s] = histogram[s] == 0 ? 0 : Math.max(1, Math.min(SCALE - 1, scaled));
      sum += frequency[s];
    }
    for (; sum != SCALE; sum += sum < SCALE ? 1 : -1) {
      frequency[mostFrequent()] += sum < SCALE ? 1 : -1;
    }
  }

  private int mostFrequent() {
    int most = 0;
    for (int s = 1; s <= last; s++) {
      if (frequency[s] > frequency[most]) {
        most = s;
      }
    }
    return most;
  }

  /** Writes the symbols last looked at. */
  void write(ByteWriter out) {
    if (isSame()) {
      out.put(SAME);
      out.put(last);
    } else if (ransBits() >= rawBits()) {
      out.put(RAW);
      out.put(symbols, 0, count);
    } else {
      out.put(RANS);
      writeTable(out);
      writeRans(out);
    }
  }

  private void writeTable(ByteWriter out) {
    out.putBits(last, 8);
    for (int s = 0; s <= last; s++) {
      int value = frequency[s] + 1;
      int length = 31 - Integer.numberOfLeadingZeros(value);
      out.putBits(1L << length, length + 1);
      out.putBits(value & (1 << length) - 1, length);
    }
    out.endBits();
  }

  private void writeRans(ByteWriter out) {
    int sum = 0;
    for (int s = 0; s <= last; s++) {
      start[s] = sum;
      sum += frequency[s];
      if (frequency[s] > 0) {
        // Exact for states below 2^31: multiply and shift instead of dividing.
        reciprocalShift[s] = 31 + 32 - Integer.numberOfLeadingZeros(frequency[s] - 1);
        reciprocal[s] = ((1L << reciprocalShift[s]) + frequency[s] - 1) / frequency[s];
      }
    }
    int even = LOWEST_STATE;
    int odd = LOWEST_STATE;
    int at = words.length;
    // Backwards, because the decoder undoes the last step first. Whether a state sheds a word cannot be foretold, so that a branch would
    // often be mispredicted: its lower half is always stored, and dropped by a shift of 16 bits or none.
    int i = count - 1;
    if ((i & 1) == 0) {
      int s = symbols[i--] & 0xff;
      words[at - 1] = (short) even;
      int sheds = (frequency[s] << 31 - SCALE_BITS) - 1 - even >> 31;
      even = step(even >>> (sheds & 16), s);
      at += sheds;
    }
    for (; i > 0; i -= 2) {
      int s = symbols[i] & 0xff;
      words[at - 1] = (short) odd;
      int sheds = (frequency[s] << 31 - SCALE_BITS) - 1 - odd >> 31;
      odd = step(odd >>> (sheds & 16), s);
      at += sheds;
      s = symbols[i - 1] & 0xff;
      words[at - 1] = (short) even;
      sheds = (frequency[s] << 31 - SCALE_BITS) - 1 - even >> 31;
      even = step(even >>> (sheds & 16), s);
      at += sheds;
    }
    out.putVarint(words.length - at);
    putInt(out, even);
    putInt(out, odd);
    for (; at < words.length; at++) {
      out.put(words[at]);
      out.put(words[at] >>> 8);
    }
  }

  private int step(int state, int symbol) {
    int quotient = (int) (state * reciprocal[symbol] >>> reciprocalShift[symbol]);
    return state + start[symbol] + quotient * (SCALE - frequency[symbol]);
  }

  private static void putInt(ByteWriter out, int value) {
    for (int shift = 0; shift < 32; shift += 8) {
      out.put(value >>> shift);
    }
  }
}
