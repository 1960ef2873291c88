package io.portllm.internal.cuda;

import java.nio.ByteBuffer;

/** The kernel for one run of weights, and what it needs in device memory. Refers to the operands' buffers. */
interface Launch {
  /** Bytes of what it needs. */
  int bytes();

  /** Whether it writes every element of the run, so that the target need not hold the weights before. */
  boolean writesAll();

  /** Writes what it needs into a buffer from byte {@code at} on. */
  void write(ByteBuffer host, int at);

  /** Starts the kernel; refers to no buffer any more. */
  Starter starter();

  /** Starts a kernel, any number of times. */
  interface Starter {
    /**
     * Starts the kernel.
     *
     * @param area where in device memory is what {@link #write} wrote
     */
    void start(DeviceStream stream, long source, long target, long area, long counts);
  }
}
