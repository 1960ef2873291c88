package io.portllm.io.internal.exact;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** What {@link ByteWriter} wrote, read back. Nothing is read past the limit. */
final class ByteReader {
  private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  /** Room after the limit: 64 bits are looked at wherever a few are read, and two words of 16 before it is known that they are there. */
  static final int SLACK = 8;

  final byte[] bytes;
  private int position;
  private int limit;
  private long bit;

  ByteReader(int capacity) {
    this.bytes = new byte[capacity + SLACK];
  }

  /** Starts over with the first {@code length} bytes of {@link #bytes}. */
  void reset(int length) {
    position = 0;
    limit = length;
  }

  int position() {
    return position;
  }

  int remaining() {
    return limit - position;
  }

  /** Skips {@code count} bytes. */
  void skip(int count, String what) throws BrokenBlockException {
    if (count > remaining()) {
      throw new BrokenBlockException("expected " + count + " bytes of " + what + " but " + remaining() + " are left");
    }
    position += count;
  }

  int get(String what) throws BrokenBlockException {
    skip(1, what);
    return bytes[position - 1] & 0xff;
  }

  /** A number of at most {@code most}. */
  int getVarint(int most, String what) throws BrokenBlockException {
    long value = 0;
    for (int shift = 0; shift <= 28; shift += 7) {
      int next = get(what);
      value |= (long) (next & 0x7f) << shift;
      if (next < 0x80) {
        if (value > most) {
          break;
        }
        return (int) value;
      }
    }
    throw new BrokenBlockException(what + " must be a number of at most " + most);
  }

  /** From here on bits are read. */
  void startBits() {
    bit = 8L * position;
  }

  /** Reads bits, at most 32. */
  long getBits(int count, String what) throws BrokenBlockException {
    if (count > 8L * limit - bit) {
      throw new BrokenBlockException("the bits of " + what + " end early");
    }
    long value = peekBits() & (1L << count) - 1;
    bit += count;
    return value;
  }

  /** The bits from here on, the next one lowest, of which at least 57 count; those past the limit are anything. */
  long peekBits() {
    return bitsAt(bytes, bit);
  }

  /** The bits of {@code bytes} from number {@code bit} on, the next one lowest, of which at least 57 count. */
  static long bitsAt(byte[] bytes, long bit) {
    return (long) LONGS.get(bytes, (int) (bit >>> 3)) >>> (bit & 7);
  }

  /** The number of the next bit. */
  long bit() {
    return bit;
  }

  /** Goes on with another bit. */
  void seekBit(long number) {
    bit = number;
  }

  /** Goes on with the byte after the last bit that was read; the bits left over must be clear. */
  void endBits(String what) throws BrokenBlockException {
    int over = (int) (-bit & 7);
    if (over > 0 && getBits(over, what) != 0) {
      throw new BrokenBlockException("the bits after " + what + " are not clear");
    }
    position = (int) (bit >>> 3);
  }
}
