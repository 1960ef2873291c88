package io.portllm.internal.cuda;

import java.nio.ByteBuffer;

/** A stream with a piece of host memory and as much device memory, which grow when more is needed. Used by one thread at a time. */
final class Lane implements AutoCloseable {
  private final Device device;
  private final DeviceStream stream;
  private ByteBuffer host;
  private long address;

  Lane(Device device) {
    this.device = device;
    this.stream = device.newStream();
  }

  DeviceStream stream() {
    return stream;
  }

  /** The buffer, empty, with at least {@code bytes} bytes and its limit there. What was in it is lost. */
  ByteBuffer host(int bytes) {
    reserve(bytes);
    return host.clear().limit(bytes);
  }

  /** The device memory that belongs to the buffer. */
  long address() {
    return address;
  }

  private void reserve(int bytes) {
    if (host == null || host.capacity() < bytes) {
      // Powers of two, so that runs of slightly different sizes need no new memory.
      int size = (int) Math.min(Integer.MAX_VALUE, Math.max(1 << 20, Long.highestOneBit(Math.max(1, bytes - 1L)) << 1));
      release();
      address = device.allocate(size);
      host = device.allocateHost(size);
    }
  }

  private void release() {
    if (address != 0) {
      device.free(address);
      address = 0;
    }
    if (host != null) {
      device.freeHost(host);
      host = null;
    }
  }

  @Override
  public void close() {
    stream.close();
    release();
  }
}
