package io.portllm.internal.merge;

import java.util.Arrays;

/** Ranks of magnitudes within a run of values, by a radix sort of their bits. Not safe for use by many threads. */
final class MagnitudeRanks {
  private static final int DIGIT_BITS = 11;
  private static final int DIGITS = 1 << DIGIT_BITS;

  private final int[] counts = new int[DIGITS];
  private int[] order = new int[0];
  private int[] other = new int[0];

  /**
   * The indices of {@code count} values from {@code from} on, counted from {@code from}, smallest magnitude first; of equal magnitudes,
   * the first first. The array is overwritten by the next call.
   */
  int[] order(float[] values, int from, int count) {
    if (order.length < count) {
      order = new int[count];
      other = new int[count];
    }
    for (int i = 0; i < count; i++) {
      order[i] = i;
    }
    // Magnitudes have 31 bits, so three digits of 11 order them.
    for (int shift = 0; shift < 31; shift += DIGIT_BITS) {
      Arrays.fill(counts, 0);
      for (int i = 0; i < count; i++) {
        counts[digit(values[from + i], shift)]++;
      }
      int start = 0;
      for (int digit = 0; digit < DIGITS; digit++) {
        int size = counts[digit];
        counts[digit] = start;
        start += size;
      }
      for (int i = 0; i < count; i++) {
        int index = order[i];
        other[counts[digit(values[from + index], shift)]++] = index;
      }
      int[] sorted = other;
      other = order;
      order = sorted;
    }
    return order;
  }

  private static int digit(float value, int shift) {
    return (Float.floatToRawIntBits(value) & Integer.MAX_VALUE) >>> shift & (DIGITS - 1);
  }
}
