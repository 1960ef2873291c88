package io.portllm.io.internal.adapter;

import java.util.HashMap;
import java.util.Map;

/**
 * The numbers that {@code torch.Generator(device="cpu")} gives from a seed: the Mersenne Twister MT19937, and what torch makes of its output.
 * Adapters that store a seed in place of random tensors need the same numbers. Not safe for use by several threads.
 */
public final class TorchRandom {
  private static final int STATE = 624;
  private static final int SHIFT = 397;

  /** From this many elements on, torch draws permutations from 64-bit numbers. */
  private static final long LONG_PERMUTATION = 0xFFFF_FFFFL / 20;

  private final int[] state = new int[STATE];
  private int next = STATE;

  /** A generator as {@code manual_seed(seed)} leaves it, which looks at the lower 32 bits of the seed. */
  public TorchRandom(long seed) {
    state[0] = (int) seed;
    for (int i = 1; i < STATE; i++) {
      state[i] = 1812433253 * (state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    }
  }

  private long unsigned32() {
    if (next == STATE) {
      twist();
    }
    int y = state[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return Integer.toUnsignedLong(y);
  }

  private long bits64() {
    long high = unsigned32();
    return high << 32 | unsigned32();
  }

  private void twist() {
    for (int i = 0; i < STATE; i++) {
      int mixed = (state[i] & 0x8000_0000) | (state[(i + 1) % STATE] & 0x7fff_ffff);
      state[i] = state[(i + SHIFT) % STATE] ^ (mixed >>> 1) ^ ((mixed & 1) == 0 ? 0 : 0x9908b0df);
    }
    next = 0;
  }

  /** The float32 numbers of {@code Tensor.uniform_(from, to)} in a contiguous tensor of {@code count} elements. */
  public float[] uniform(int count, double from, double to) {
    float start = (float) from;
    float width = (float) to - start;
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      float unit = (unsigned32() & 0xff_ffff) * 0x1p-24f;
      // torch's build for x86-64 with AVX2 fuses the two; without, some values are one unit in the last place off.
      values[i] = Math.fma(unit, width, start);
    }
    return values;
  }

  /** The numbers of {@code Tensor.uniform_(from, to)} in a contiguous bfloat16 tensor of {@code count} elements, widened. */
  public float[] bfloat16Uniform(int count, double from, double to) {
    float[] bounds = {(float) from, (float) to};
    roundToBfloat16(bounds);
    float[] values = uniform(count, from, to);
    roundToBfloat16(values);
    for (int i = 0; i < count; i++) {
      // The upper bound is no part of the range, so what rounds to it becomes the lower.
      if (values[i] == bounds[1]) {
        values[i] = bounds[0];
      }
    }
    return values;
  }

  /** Rounds each of these finite values to the nearest that bfloat16 has, ties to even. */
  public static void roundToBfloat16(float[] values) {
    for (int i = 0; i < values.length; i++) {
      int bits = Float.floatToRawIntBits(values[i]);
      values[i] = Float.intBitsToFloat((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff_0000);
    }
  }

  /**
   * The first elements of {@code torch.randperm(n)}. Takes memory for these alone; time too, unless n is above two hundred million.
   *
   * @param count how many, at most n
   */
  public long[] permutation(long n, int count) {
    return n < LONG_PERMUTATION ? shortPermutation(n, count) : longPermutation(n, count);
  }

  private long[] shortPermutation(long n, int count) {
    long[] first = new long[count];
    // Where the permutation so far differs from the identity, behind what is done.
    Map<Long, Long> moved = new HashMap<>();
    for (long i = 0; i < count; i++) {
      // The last element has nothing to be exchanged with, and no number is drawn for it.
      long other = i == n - 1 ? i : i + unsigned32() % (n - i);
      Long mine = moved.remove(i);
      Long theirs = other == i ? mine : moved.get(other);
      first[(int) i] = theirs == null ? other : theirs;
      if (other != i) {
        moved.put(other, mine == null ? i : mine);
      }
    }
    return first;
  }

  private long[] longPermutation(long n, int count) {
    long[] first = new long[count];
    for (long i = 0; i < n; i++) {
      long other = Long.remainderUnsigned(bits64(), i + 1);
      if (i < count) {
        first[(int) i] = first[(int) other];
      }
      if (other < count) {
        first[(int) other] = i;
      }
    }
    return first;
  }
}
