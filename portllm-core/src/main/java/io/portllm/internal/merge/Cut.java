package io.portllm.internal.merge;

/**
 * The line between the elements of greatest magnitude and the rest.
 *
 * @param key the magnitude at the line, as the bits of a float without its sign
 * @param last the last element of just that magnitude that is still above the line
 */
public record Cut(int key, long last) {
  /** Everything is above. */
  static final Cut ALL = new Cut(0, Long.MAX_VALUE);

  /** Nothing is above: no number has this magnitude. */
  static final Cut NONE = new Cut(Integer.MAX_VALUE - 1, -1);

  /** Whether the element {@code index} with this value is above the line. */
  public boolean isAbove(float value, long index) {
    int magnitude = Float.floatToRawIntBits(value) & Integer.MAX_VALUE;
    return magnitude > key || magnitude == key && index <= last;
  }

  /** Replaces by zero what is not above; the values are the elements from {@code first} on. */
  void keepAbove(float[] values, long first, int count) {
    int split = split(first, count);
    keep(values, 0, split, key, -1);
    keep(values, split, count, key + 1, -1);
  }

  /** Replaces by zero what is above. */
  void dropAbove(float[] values, long first, int count) {
    int split = split(first, count);
    keep(values, 0, split, key, 0);
    keep(values, split, count, key + 1, 0);
  }

  /** How many of the {@code count} elements from {@code first} on come no later than {@link #last}. */
  public int split(long first, int count) {
    return (int) Math.max(0, Math.min(count, last < Long.MAX_VALUE ? last - first + 1 : count));
  }

  /** Keeps magnitudes of at least {@code least}, or with {@code which} 0 the others; without branches, which chance would mispredict. */
  private static void keep(float[] values, int from, int to, int least, int which) {
    for (int i = from; i < to; i++) {
      int bits = Float.floatToRawIntBits(values[i]);
      int reaches = ~((bits & Integer.MAX_VALUE) - least >> 31);
      values[i] = Float.intBitsToFloat(bits & ~(reaches ^ which));
    }
  }
}
