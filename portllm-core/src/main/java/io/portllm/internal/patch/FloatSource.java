package io.portllm.internal.patch;

import java.io.IOException;

/** A list of float32 values that can be read in parts. Safe for use by many threads. */
public interface FloatSource {
  /** Reads {@code count} values from value {@code first} on into {@code target} from index {@code at} on. */
  void read(long first, float[] target, int at, int count) throws IOException;
}
