package io.portllm.internal.cuda;

import java.nio.ByteBuffer;

/** A stream with a piece of host memory and one of device memory, which grow when more is needed. Used by one thread at a time. */
final class Lane implements AutoCloseable {
  private final Device device;
  private final DeviceStream stream;
  private ByteBuffer host;
  private long memory;
  private int memoryBytes;

  Lane(Device device) {
    this.device = device;
    this.stream = device.newStream();
  }

  DeviceStream stream() {
    return stream;
  }

  /** The buffer, empty, with at least {@code bytes} bytes and its limit there. What was in it is lost. */
  ByteBuffer host(int bytes) {
    if (host == null || host.capacity() < bytes) {
      if (host != null) {
        device.freeHost(host);
        host = null;
      }
      host = device.allocateHost(size(bytes));
    }
    return host.clear().limit(bytes);
  }

  /** Device memory of at least {@code bytes} bytes. What was in it is lost. */
  long memory(int bytes) {
    if (bytes > memoryBytes) {
      freeMemory();
      memory = device.allocate(size(bytes));
      memoryBytes = size(bytes);
    }
    return memory;
  }

  /** Powers of two, so that runs of slightly different sizes need no new memory. */
  private static int size(int bytes) {
    return (int) Math.min(Integer.MAX_VALUE, Math.max(1 << 16, Long.highestOneBit(Math.max(1, bytes - 1L)) << 1));
  }

  private void freeMemory() {
    if (memory != 0) {
      device.free(memory);
      memory = 0;
      memoryBytes = 0;
    }
  }

  @Override
  public void close() {
    try {
      stream.close();
    } finally {
      freeMemory();
      if (host != null) {
        device.freeHost(host);
        host = null;
      }
    }
  }
}
