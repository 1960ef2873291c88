package io.portllm.internal.kernel;

/**
 * Loops of which the JIT compilers of JDK 17 and later make vector instructions, without the Vector API. They do so only if a loop has few
 * operations, uses one index for all arrays, has no branch, and touches elements of 32 bits alone; hence many short loops, masks of
 * all ones or zeros in the place of conditions, and copies through a buffer in the place of {@link Float#intBitsToFloat}.
 *
 * <p>All work on elements 0 to {@code n} of their arrays.
 */
final class Loops {
  /** The bits of infinity, all of which are set in NaN too. */
  private static final int INFINITY = 0x7f80_0000;

  private Loops() {}

  static void shiftLeft(int[] bits, int by, int[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = bits[i] << by;
    }
  }

  static void and(int[] bits, int mask, int[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = bits[i] & mask;
    }
  }

  static void shiftRight(int[] bits, int by, int[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = bits[i] >>> by;
    }
  }

  /** Makes F16 values in the lower halves of words float32 bits, times 2^-112; what is infinite or NaN becomes 2^-96 or more. */
  static void widenLowF16(int[] words, int[] bits, int n) {
    for (int i = 0; i < n; i++) {
      bits[i] = ((words[i] << 16) & 0x8000_0000) | ((words[i] & 0x7fff) << 13);
    }
  }

  /** The same in the upper halves. */
  static void widenHighF16(int[] words, int[] bits, int n) {
    for (int i = 0; i < n; i++) {
      bits[i] = (words[i] & 0x8000_0000) | ((words[i] >>> 3) & 0x0fff_e000);
    }
  }

  /** Puts the upper halves of two words into one. */
  static void pack(int[] low, int[] high, int[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = (low[i] >>> 16) | high[i];
    }
  }

  /** Puts the lower halves of two words, the upper halves of which are zero, into one. */
  static void packLow(int[] low, int[] high, int[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = low[i] | (high[i] << 16);
    }
  }

  static void add(float[] sum, float[] values, int n) {
    for (int i = 0; i < n; i++) {
      sum[i] += values[i];
    }
  }

  static void subtract(float[] values, float[] minus, int n) {
    for (int i = 0; i < n; i++) {
      values[i] -= minus[i];
    }
  }

  static void scale(float[] values, float factor, int n) {
    for (int i = 0; i < n; i++) {
      values[i] *= factor;
    }
  }

  /** Adds a product to each element. */
  static void addProduct(float[] sum, float left, float[] right, int n) {
    for (int i = 0; i < n; i++) {
      sum[i] += left * right[i];
    }
  }

  /** Adds four products to each element, one after the other. */
  static void addFour(float[] sum, float[] left, int at, float[] right0, float[] right1, float[] right2, float[] right3, int n) {
    float l0 = left[at];
    float l1 = left[at + 1];
    float l2 = left[at + 2];
    float l3 = left[at + 3];
    for (int i = 0; i < n; i++) {
      sum[i] = (((sum[i] + l0 * right0[i]) + l1 * right1[i]) + l2 * right2[i]) + l3 * right3[i];
    }
  }

  /** Rounds float32 bits to those of the nearest BF16, as {@link Floats#floatToBf16} does. */
  static void roundToBf16(int[] sums, int[] rounded, int n) {
    for (int i = 0; i < n; i++) {
      int sum = sums[i];
      int nan = (0x7f80_0000 - (sum & 0x7fff_ffff)) >> 31;
      int nearest = sum + 0x7fff + ((sum >>> 16) & 1);
      int quiet = sum | 0x40_0000;
      rounded[i] = ((nearest & ~nan) | (quiet & nan)) & 0xffff_0000;
    }
  }

  /** The magnitude of each value plus one half, which has the least subnormal F16 in its last place. */
  static void addHalf(float[] values, float[] result, int n) {
    for (int i = 0; i < n; i++) {
      result[i] = Math.abs(values[i]) + 0.5f;
    }
  }

  /**
   * Rounds float32 bits to the codes of the nearest F16, as {@link Floats#floatToF16} does, none of which is past the largest.
   *
   * @param halves the bits that {@link #addHalf} gives: it rounds to subnormals
   */
  static void roundToF16(int[] sums, int[] halves, int[] rounded, int n) {
    for (int i = 0; i < n; i++) {
      int magnitude = sums[i] & 0x7fff_ffff;
      int normal = magnitude - 0x3800_0000;
      int nearest = (normal + 0xfff + ((normal >>> 13) & 1)) >>> 13;
      int subnormal = (magnitude - 0x3880_0000) >> 31;
      rounded[i] = ((nearest & ~subnormal) | ((halves[i] - 0x3f00_0000) & subnormal)) | ((sums[i] >>> 16) & 0x8000);
    }
  }

  /** Replaces the bits of changes by all ones where the weight keeps its bits: its change is zero, or it is infinite or NaN. */
  static void keep(int[] changes, int[] old, int n) {
    for (int i = 0; i < n; i++) {
      changes[i] = (((changes[i] & 0x7fff_ffff) - 1) | (((old[i] & INFINITY) ^ INFINITY) - 1)) >> 31;
    }
  }

  /**
   * Takes the old bits where they are kept, and counts in each element of {@code counts}: 1 for bits that are others, 0x10000 for bits
   * that are kept.
   */
  static void settle(int[] rounded, int[] old, int[] kept, int[] counts, int n) {
    for (int i = 0; i < n; i++) {
      int moved = (rounded[i] ^ old[i]) & ~kept[i];
      rounded[i] = moved ^ old[i];
      counts[i] += ((moved | (0 - moved)) >>> 31) + (kept[i] & 0x1_0000);
    }
  }

  /** Whether a value is infinite or NaN. */
  static boolean anySpecial(int[] bits, int n) {
    int any = 0;
    for (int i = 0; i < n; i++) {
      any |= ((bits[i] & INFINITY) ^ INFINITY) - 1;
    }
    return any < 0;
  }

  /** Whether one of the F16 in words, two in each, is infinite or NaN. */
  static boolean anySpecialF16(int[] words, int n) {
    int any = 0;
    for (int i = 0; i < n; i++) {
      any |= (((words[i] & 0x7c00) ^ 0x7c00) - 1) | (((words[i] & 0x7c00_0000) ^ 0x7c00_0000) - 1);
    }
    return any < 0;
  }

  /** Whether a float32 value is infinite or NaN or would become so in F16. */
  static boolean anyPastF16(int[] bits, int n) {
    int any = 0;
    for (int i = 0; i < n; i++) {
      any |= 0x477f_efff - (bits[i] & 0x7fff_ffff);
    }
    return any < 0;
  }
}
