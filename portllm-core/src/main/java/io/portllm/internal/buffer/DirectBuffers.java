package io.portllm.internal.buffer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Off-heap buffers of one size, lent and taken back. As many exist as were lent at one time. Safe for use by many threads.
 */
public final class DirectBuffers {
  private final int size;
  private final ConcurrentLinkedQueue<ByteBuffer> free = new ConcurrentLinkedQueue<>();

  /**
   * No buffers yet.
   *
   * @param size bytes of each
   */
  public DirectBuffers(int size) {
    this.size = size;
  }

  /** Bytes of each buffer. */
  public int size() {
    return size;
  }

  /** A little-endian buffer, empty and with its limit at {@code length}. */
  public ByteBuffer lend(int length) {
    ByteBuffer buffer = free.poll();
    if (buffer == null) {
      buffer = ByteBuffer.allocateDirect(size).order(ByteOrder.LITTLE_ENDIAN);
    }
    return buffer.clear().limit(length);
  }

  /** Takes a lent buffer back. */
  public void takeBack(ByteBuffer buffer) {
    free.add(buffer);
  }
}
