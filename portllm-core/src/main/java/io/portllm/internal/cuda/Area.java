package io.portllm.internal.cuda;

/** Places in a piece of memory, one after the other, each aligned to 256 bytes. */
final class Area {
  private static final int ALIGNMENT = 256;

  private long end;

  /** A place for {@code bytes} bytes. */
  int place(long bytes) {
    long at = align(end);
    end = Math.addExact(at, bytes);
    Math.toIntExact(end);
    return (int) at;
  }

  /** The bytes up to the end of the last place, itself a place. */
  int bytes() {
    return Math.toIntExact(align(end));
  }

  /** The next address at which something may be placed. */
  static long align(long address) {
    return Math.addExact(address, ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
}
