package io.portllm.internal.patch;

import java.nio.ByteBuffer;

/** Zeros of the arithmetic types, all of which have the sign in their highest bit. */
final class Zeros {
  private Zeros() {}

  /** Fills {@code destination} with zeros of {@code size} bytes, from the start of one on. */
  static void put(ByteBuffer destination, int size, boolean negative) {
    int first = destination.position();
    while (destination.hasRemaining()) {
      boolean last = (destination.position() - first) % size == size - 1;
      destination.put((byte) (last && negative ? 0x80 : 0));
    }
  }
}
