package io.portllm.internal.cuda;

import java.nio.ByteBuffer;

/**
 * A GPU. Safe for use by many threads.
 *
 * <p>Every method, and those of {@link DeviceStream}, throws {@link IllegalStateException} with the driver's name of the error if it fails.
 */
public interface Device {
  /** What the driver calls it. */
  String name();

  /** Bytes of its memory. */
  long totalBytes();

  /** Bytes of its memory that can be allocated now, give or take what lies scattered. */
  long freeBytes();

  /**
   * Allocates device memory, aligned to 256 bytes.
   *
   * @return its address
   */
  long allocate(long bytes);

  /** Frees what {@link #allocate} gave. */
  void free(long address);

  /** A little-endian buffer in host memory that the device copies from and to directly. */
  ByteBuffer allocateHost(int bytes);

  /** Frees what {@link #allocateHost} gave; the buffer must not be used any more. */
  void freeHost(ByteBuffer buffer);

  /** A new queue of work. */
  DeviceStream newStream();
}
