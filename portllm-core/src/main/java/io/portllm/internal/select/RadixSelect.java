package io.portllm.internal.select;

import java.util.Arrays;

/**
 * Finds the magnitude of which {@code k} values are larger or equal, in two passes over the values: one counts the upper halves of their
 * magnitudes' bits, the other the lower halves of those that share the upper half sought. The bits of finite floats without their sign
 * are ordered as their magnitudes are, so the outcome is exact.
 *
 * <p>For one thread.
 */
public final class RadixSelect {
  private static final int MAGNITUDE = 0x7fff_ffff;

  private final long[] counts = new long[1 << 16];
  private long left;
  private int high = -1;

  /**
   * What to keep.
   *
   * @param bits values with larger magnitude bits are all kept
   * @param ties how many values of just these magnitude bits are kept besides
   */
  public record Threshold(int bits, long ties) {}

  /** The first pass counts what {@link #add} gives it; {@code k} of it are sought, not more than are given and not less than 1. */
  public RadixSelect(long k) {
    this.left = k;
  }

  /** Counts values. */
  public void add(float[] values, int count) {
    if (high < 0) {
      for (int i = 0; i < count; i++) {
        counts[(Float.floatToRawIntBits(values[i]) & MAGNITUDE) >>> 16]++;
      }
    } else {
      for (int i = 0; i < count; i++) {
        int bits = Float.floatToRawIntBits(values[i]) & MAGNITUDE;
        if (bits >>> 16 == high) {
          counts[bits & 0xffff]++;
        }
      }
    }
  }

  /** Ends the first pass; the same values must be added again. */
  public void endFirstPass() {
    high = find();
    Arrays.fill(counts, 0);
  }

  /** Ends the second pass. */
  public Threshold threshold() {
    int low = find();
    return new Threshold(high << 16 | low, left);
  }

  /** The bucket in which the value sought lies; {@link #left} becomes its rank from the top within the bucket. */
  private int find() {
    int bucket = counts.length - 1;
    while (counts[bucket] < left) {
      left -= counts[bucket--];
    }
    return bucket;
  }
}
