package io.portllm.internal.portability;

/** Seeded random buckets and signs of rows, columns and elements. They are part of the patch file's format. */
final class Hashes {
  /** Rows of θ go to rows of its sketch. */
  static final long ROWS = 1;
  /** Columns of θ go to columns of its sketch. */
  static final long COLUMNS = 2;
  /** Rows of Δ go to rows of P·Δ. */
  static final long CHANGE_ROWS = 3;
  /** Columns of Δ go to columns of Δ·Q. */
  static final long CHANGE_COLUMNS = 4;
  /** Elements of vectors go to values of their sketch. */
  static final long ELEMENTS = 5;
  /** Columns of P·Δ get a sign before they are summed to its signature. */
  static final long SIGNATURE = 6;
  /** Runs of a tensor that are stored anew for a sample; not part of the format. */
  static final long SAMPLES = 7;

  private Hashes() {}

  /** 64 random bits for number {@code index} of a role: the finalizer of SplitMix64. */
  static long bits(long role, long index) {
    long z = index + role * 0x9E3779B97F4A7C15L;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /** A bucket from random bits, for a number of buckets that is a power of two. */
  static int bucket(long bits, int buckets) {
    return (int) (bits & (buckets - 1));
  }

  /** A sign from random bits: the highest. */
  static double sign(long bits) {
    return bits < 0 ? -1 : 1;
  }

  /** The signs of numbers 0 to {@code count}. */
  static double[] signs(long role, int count) {
    double[] all = new double[count];
    for (int i = 0; i < count; i++) {
      all[i] = sign(bits(role, i));
    }
    return all;
  }
}
