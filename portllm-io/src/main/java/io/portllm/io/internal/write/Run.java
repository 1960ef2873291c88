package io.portllm.io.internal.write;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Bytes of a weight file that lie side by side.
 *
 * @param source where they come from
 * @param bytes how many
 * @param unit the bytes that are not divided; {@code bytes} is a multiple of it
 * @param weights whether they are of a tensor
 */
record Run(Source source, long bytes, int unit, boolean weights) {
  /** Reads bytes of a run. */
  interface Source {
    /**
     * Fills {@code destination}.
     *
     * @param offset the first byte, counted from the start of the run
     */
    void read(long offset, ByteBuffer destination) throws IOException;
  }

  /** Bytes in memory. */
  static Run of(byte[] bytes) {
    return new Run((offset, destination) -> destination.put(bytes, (int) offset, destination.remaining()), bytes.length, 1, false);
  }

  /** Zero bytes. */
  static Run zeros(int bytes) {
    return new Run(
        (offset, destination) -> {
          while (destination.hasRemaining()) {
            destination.put((byte) 0);
          }
        },
        bytes,
        1,
        false);
  }
}
