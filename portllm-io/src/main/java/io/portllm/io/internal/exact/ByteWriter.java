package io.portllm.io.internal.exact;

/** Bytes and bits, written one after the other into an array that is large enough. Bits fill bytes from the lowest on. */
final class ByteWriter {
  final byte[] bytes;
  private int position;
  private long pending;
  private int pendingBits;

  ByteWriter(int capacity) {
    this.bytes = new byte[capacity];
  }

  /** Starts over. */
  void clear() {
    position = 0;
    pending = 0;
    pendingBits = 0;
  }

  /** Bytes written so far. */
  int position() {
    return position;
  }

  void put(int value) {
    bytes[position++] = (byte) value;
  }

  void put(byte[] source, int from, int length) {
    System.arraycopy(source, from, bytes, position, length);
    position += length;
  }

  /** Seven bits a byte, the lowest first; the high bit says that more follow. */
  void putVarint(int value) {
    int rest = value;
    while (rest >= 0x80) {
      put(rest | 0x80);
      rest >>>= 7;
    }
    put(rest);
  }

  /** Writes the lowest {@code count} bits of {@code value}, the others being clear; at most 32. */
  void putBits(long value, int count) {
    pending |= value << pendingBits;
    pendingBits += count;
    while (pendingBits >= 8) {
      put((int) pending);
      pending >>>= 8;
      pendingBits -= 8;
    }
  }

  /** Fills the last byte of bits with zeros. */
  void endBits() {
    if (pendingBits > 0) {
      put((int) pending);
    }
    pending = 0;
    pendingBits = 0;
  }
}
