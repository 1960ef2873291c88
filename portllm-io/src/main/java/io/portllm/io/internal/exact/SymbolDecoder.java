package io.portllm.io.internal.exact;

import static io.portllm.io.internal.exact.SymbolEncoder.LOWEST_STATE;
import static io.portllm.io.internal.exact.SymbolEncoder.SCALE;
import static io.portllm.io.internal.exact.SymbolEncoder.SCALE_BITS;

import java.util.Arrays;

/** Reads what {@link SymbolEncoder} writes. */
final class SymbolDecoder {
  private static final String TABLE = "a table of frequencies";

  /** For each state modulo the scale: the symbol, 12 bits of its frequency, and 12 bits of the place among its slots. */
  private final int[] slots = new int[SCALE];

  /** Reads {@code count} symbols, at least one. */
  void read(ByteReader in, byte[] symbols, int count) throws BrokenBlockException {
    int kind = in.get("a kind of stream");
    switch (kind) {
      case SymbolEncoder.RAW -> {
        int from = in.position();
        in.skip(count, "symbols");
        System.arraycopy(in.bytes, from, symbols, 0, count);
      }
      case SymbolEncoder.SAME -> Arrays.fill(symbols, 0, count, (byte) in.get("a symbol"));
      case SymbolEncoder.RANS -> {
        readTable(in);
        readRans(in, symbols, count);
      }
      default -> throw new BrokenBlockException("unknown kind of stream " + kind);
    }
  }

  private void readTable(ByteReader in) throws BrokenBlockException {
    in.startBits();
    int last = (int) in.getBits(8, TABLE);
    int sum = 0;
    for (int s = 0; s <= last; s++) {
      int length = 0;
      while (in.getBits(1, TABLE) == 0) {
        if (++length > SCALE_BITS) {
          throw new BrokenBlockException("the frequency of symbol " + s + " is more than " + SCALE);
        }
      }
      int frequency = (1 << length | (int) in.getBits(length, TABLE)) - 1;
      if (frequency >= SCALE || frequency > SCALE - sum) {
        throw new BrokenBlockException("the frequencies up to symbol " + s + " add up to more than " + SCALE);
      }
      for (int place = 0; place < frequency; place++) {
        slots[sum + place] = s << 24 | frequency << 12 | place;
      }
      sum += frequency;
    }
    if (sum != SCALE) {
      throw new BrokenBlockException("the frequencies add up to " + sum + ", not " + SCALE);
    }
    in.endBits(TABLE);
  }

  private void readRans(ByteReader in, byte[] symbols, int count) throws BrokenBlockException {
    // A symbol takes in a word at most.
    int words = in.getVarint(count, "the number of words");
    int even = readState(in);
    int odd = readState(in);
    int at = in.position();
    in.skip(2 * words, "words");
    int end = at + 2 * words;
    byte[] bytes = in.bytes;
    int[] slots = this.slots;
    // Whether a state takes in a word cannot be foretold, so that a branch would often be mispredicted: the next word is always read,
    // and shifted in by 16 bits or none.
    for (int i = 0; i + 1 < count; i += 2) {
      int slot = slots[even & SCALE - 1];
      symbols[i] = (byte) (slot >>> 24);
      even = (slot >>> 12 & SCALE - 1) * (even >>> SCALE_BITS) + (slot & SCALE - 1);
      int lacks = even - LOWEST_STATE >> 31;
      even = even << (lacks & 16) | (bytes[at] & 0xff | (bytes[at + 1] & 0xff) << 8) & lacks;
      at -= 2 * lacks;
      slot = slots[odd & SCALE - 1];
      symbols[i + 1] = (byte) (slot >>> 24);
      odd = (slot >>> 12 & SCALE - 1) * (odd >>> SCALE_BITS) + (slot & SCALE - 1);
      lacks = odd - LOWEST_STATE >> 31;
      odd = odd << (lacks & 16) | (bytes[at] & 0xff | (bytes[at + 1] & 0xff) << 8) & lacks;
      at -= 2 * lacks;
      if (at > end) {
        throw new BrokenBlockException("the words end before the symbols");
      }
    }
    if ((count & 1) == 1) {
      int slot = slots[even & SCALE - 1];
      symbols[count - 1] = (byte) (slot >>> 24);
      even = (slot >>> 12 & SCALE - 1) * (even >>> SCALE_BITS) + (slot & SCALE - 1);
      int lacks = even - LOWEST_STATE >> 31;
      even = even << (lacks & 16) | (bytes[at] & 0xff | (bytes[at + 1] & 0xff) << 8) & lacks;
      at -= 2 * lacks;
    }
    if (at != end || even != LOWEST_STATE || odd != LOWEST_STATE) {
      throw new BrokenBlockException("the symbols do not end where their words end");
    }
  }

  private static int readState(ByteReader in) throws BrokenBlockException {
    int state = 0;
    for (int shift = 0; shift < 32; shift += 8) {
      state |= in.get("a state") << shift;
    }
    if (state < LOWEST_STATE) {
      throw new BrokenBlockException("a state must be 2^15 to 2^31 - 1 but is " + Integer.toUnsignedLong(state));
    }
    return state;
  }
}
