package io.portllm.internal.merge;

import java.nio.charset.StandardCharsets;

/**
 * Random numbers that belong to the elements of a tensor, whatever order they are asked for in: SplitMix64 of a key and the element's
 * index.
 */
final class Coins {
  private static final long STEP = 0x9e37_79b9_7f4a_7c15L;

  private final long key;

  /**
   * The numbers of one tensor of one patch.
   *
   * @param seed chosen by the caller
   * @param start what is added to each index
   * @param patch which of the patches, so that each has its own
   */
  Coins(long seed, int patch, String tensor, long start) {
    long hash = mix(mix(seed) + patch);
    for (byte letter : tensor.getBytes(StandardCharsets.UTF_8)) {
      hash = mix(hash ^ letter);
    }
    this.key = hash + start * STEP;
  }

  /** A number from 0 to 1, 1 excluded, of the element {@code index}. */
  double number(long index) {
    return (mix(key + index * STEP) >>> 11) * 0x1p-53;
  }

  /** All ones if the {@link #number} of the element {@code index} is less than {@code bound}, which is 0 to 1; else zero. */
  int below(long index, double bound) {
    // Both sides times 2^53, which is exact, and a whole number is less than a bound if it is less than the next whole one.
    long whole = (long) Math.ceil(bound * 0x1p53);
    return (int) ((mix(key + index * STEP) >>> 11) - whole >> 63);
  }

  private static long mix(long value) {
    long z = value + STEP;
    z = (z ^ (z >>> 30)) * 0xbf58_476d_1ce4_e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d0_49bb_1331_11ebL;
    return z ^ (z >>> 31);
  }
}
