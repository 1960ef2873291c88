package io.portllm.io.internal.exact;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Bytes and bits, written one after the other into an array that is large enough. Bits fill bytes from the lowest on. */
final class ByteWriter {
  private static final VarHandle INTS = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

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

  /** Writes the lowest {@code count} bits of {@code value}, the others being clear; at most 32. {@link #endBits} must follow the last. */
  void putBits(long value, int count) {
    pending |= value << pendingBits;
    pendingBits += count;
    if (pendingBits >= 32) {
      INTS.set(bytes, position, (int) pending);
      position += 4;
      pending >>>= 32;
      pendingBits -= 32;
    }
  }

  /** Fills the last byte of bits with zeros. */
  void endBits() {
    for (; pendingBits > 0; pendingBits -= 8) {
      put((int) pending);
      pending >>>= 8;
    }
    pendingBits = 0;
  }
}
