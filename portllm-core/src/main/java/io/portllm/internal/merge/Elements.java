package io.portllm.internal.merge;

import java.io.IOException;

/** A run of float32 values that can be gone through more than once. */
public interface Elements {
  /** How many there are. */
  long count();

  /**
   * Reads some of them.
   *
   * @param target receives {@code count} values from index 0
   */
  void read(long first, int count, float[] target) throws IOException;
}
