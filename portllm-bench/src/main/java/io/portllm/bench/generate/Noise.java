package io.portllm.bench.generate;

import com.google.common.hash.Hashing;
import java.nio.charset.StandardCharsets;

/**
 * Pseudo-random numbers that look normal, each computed from its tensor's name and its position alone.
 *
 * @param seed other seeds give unrelated numbers
 * @param deviation their standard deviation
 */
record Noise(long seed, float deviation) {
  /** The standard deviation of the sum of four 16-bit numbers, 65536 · √(4/12). */
  private static final double LANES = 37837.2;

  /** Adds the numbers of a tensor to {@code values}, from position {@code first} of the tensor on. */
  void addTo(float[] values, String tensor, long first) {
    long key = Hashing.sipHash24(seed, 0).hashString(tensor, StandardCharsets.UTF_8).asLong();
    float scale = (float) (deviation / LANES);
    for (int i = 0; i < values.length; i++) {
      long bits = mix(key + (first + i) * 0x9e3779b97f4a7c15L);
      int sum = (int) (bits & 0xffff) + (int) (bits >>> 16 & 0xffff) + (int) (bits >>> 32 & 0xffff) + (int) (bits >>> 48);
      values[i] += scale * (sum - 2 * 0xffff);
    }
  }

  /** Each bit of the result depends on every bit of {@code x}: multiply and shift, three times. */
  private static long mix(long x) {
    x = (x ^ x >>> 32) * 0xd6e8feb86659fd93L;
    x = (x ^ x >>> 32) * 0xd6e8feb86659fd93L;
    return x ^ x >>> 32;
  }
}
