package io.portllm.internal.quant;

/**
 * Extremes of runs of values, whose lengths are multiples of four. Magnitudes are compared as integers: float32 bits without the sign have
 * the order of their values, and integers compare without branches, which random weights would mispredict.
 */
final class Extremes {
  private Extremes() {}

  /** The largest magnitude. */
  static float magnitude(float[] values, int from, int count) {
    int a = 0;
    int b = 0;
    int c = 0;
    int d = 0;
    for (int i = 0; i < count; i += 4) {
      a = Math.max(a, Float.floatToRawIntBits(values[from + i]) & 0x7fff_ffff);
      b = Math.max(b, Float.floatToRawIntBits(values[from + i + 1]) & 0x7fff_ffff);
      c = Math.max(c, Float.floatToRawIntBits(values[from + i + 2]) & 0x7fff_ffff);
      d = Math.max(d, Float.floatToRawIntBits(values[from + i + 3]) & 0x7fff_ffff);
    }
    return Float.intBitsToFloat(Math.max(Math.max(a, b), Math.max(c, d)));
  }

  /** The first value of the largest magnitude; positive zero if all are zeros. */
  static float farthest(float[] values, int from, int count) {
    // The bits of the largest magnitude on each side of zero; without a sign they are above those with one.
    int above = 0;
    int below = 0;
    int aboveToo = 0;
    int belowToo = 0;
    for (int i = 0; i < count; i += 2) {
      int one = Float.floatToRawIntBits(values[from + i]);
      int other = Float.floatToRawIntBits(values[from + i + 1]);
      above = Math.max(above, one);
      below = Math.max(below, one ^ 0x8000_0000);
      aboveToo = Math.max(aboveToo, other);
      belowToo = Math.max(belowToo, other ^ 0x8000_0000);
    }
    above = Math.max(above, aboveToo);
    below = Math.max(below, belowToo);
    if (above != below) {
      return Float.intBitsToFloat(above > below ? above : below ^ 0x8000_0000);
    }
    return above == 0 ? 0 : first(Float.intBitsToFloat(above), values, from);
  }

  private static float first(float magnitude, float[] values, int from) {
    int i = from;
    while (Math.abs(values[i]) != magnitude) {
      i++;
    }
    return values[i];
  }

  /** The least value; of zeros of both signs, the first. */
  static float least(float[] values, int from, int count) {
    int a = Integer.MAX_VALUE;
    int b = Integer.MAX_VALUE;
    for (int i = 0; i < count; i += 2) {
      a = Math.min(a, ordered(values[from + i]));
      b = Math.min(b, ordered(values[from + i + 1]));
    }
    float least = value(Math.min(a, b));
    return least == 0 ? first(0, values, from) : least;
  }

  /** The greatest value; of zeros of both signs, the first. */
  static float greatest(float[] values, int from, int count) {
    int a = Integer.MIN_VALUE;
    int b = Integer.MIN_VALUE;
    for (int i = 0; i < count; i += 2) {
      a = Math.max(a, ordered(values[from + i]));
      b = Math.max(b, ordered(values[from + i + 1]));
    }
    float greatest = value(Math.max(a, b));
    return greatest == 0 ? first(0, values, from) : greatest;
  }

  /** An integer that is the greater the greater the value is. */
  private static int ordered(float value) {
    int bits = Float.floatToRawIntBits(value);
    return bits ^ ((bits >> 31) & 0x7fff_ffff);
  }

  private static float value(int ordered) {
    return Float.intBitsToFloat(ordered ^ ((ordered >> 31) & 0x7fff_ffff));
  }
}
