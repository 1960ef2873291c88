package io.portllm.internal.quant;

/**
 * Extremes of runs of values, whose lengths are multiples of four. Magnitudes are compared as integers: float32 bits without the sign have the
 * order of their values, and integers compare without branches, which random weights would mispredict.
 */
final class Extremes {
  private Extremes() {}

  /** The largest magnitude. */
  static float magnitude(float[] values, int from, int count) {
    return Float.intBitsToFloat(magnitudeBits(values, from, count));
  }

  /** The first value of the largest magnitude; positive zero if all are zeros. */
  static float farthest(float[] values, int from, int count) {
    int magnitude = magnitudeBits(values, from, count);
    if (magnitude == 0) {
      return 0;
    }
    int i = from;
    while ((Float.floatToRawIntBits(values[i]) & 0x7fff_ffff) != magnitude) {
      i++;
    }
    return values[i];
  }

  private static int magnitudeBits(float[] values, int from, int count) {
    int a = 0;
    int b = 0;
    int c = 0;
    int d = 0;
    for (int i = from; i < from + count; i += 4) {
      a = Math.max(a, Float.floatToRawIntBits(values[i]) & 0x7fff_ffff);
      b = Math.max(b, Float.floatToRawIntBits(values[i + 1]) & 0x7fff_ffff);
      c = Math.max(c, Float.floatToRawIntBits(values[i + 2]) & 0x7fff_ffff);
      d = Math.max(d, Float.floatToRawIntBits(values[i + 3]) & 0x7fff_ffff);
    }
    return Math.max(Math.max(a, b), Math.max(c, d));
  }

  /** The least value; of zeros of both signs, the first. */
  static float least(float[] values, int from, int count) {
    int a = Integer.MAX_VALUE;
    int b = Integer.MAX_VALUE;
    for (int i = from; i < from + count; i += 2) {
      a = Math.min(a, ordered(values[i]));
      b = Math.min(b, ordered(values[i + 1]));
    }
    float least = value(Math.min(a, b));
    return least == 0 ? firstZero(values, from) : least;
  }

  /** The greatest value; of zeros of both signs, the first. */
  static float greatest(float[] values, int from, int count) {
    int a = Integer.MIN_VALUE;
    int b = Integer.MIN_VALUE;
    for (int i = from; i < from + count; i += 2) {
      a = Math.max(a, ordered(values[i]));
      b = Math.max(b, ordered(values[i + 1]));
    }
    float greatest = value(Math.max(a, b));
    return greatest == 0 ? firstZero(values, from) : greatest;
  }

  /** An integer that is the greater the greater the value is. */
  private static int ordered(float value) {
    int bits = Float.floatToRawIntBits(value);
    return bits ^ ((bits >> 31) & 0x7fff_ffff);
  }

  private static float value(int ordered) {
    return Float.intBitsToFloat(ordered ^ ((ordered >> 31) & 0x7fff_ffff));
  }

  private static float firstZero(float[] values, int from) {
    int i = from;
    while (values[i] != 0) {
      i++;
    }
    return values[i];
  }
}
