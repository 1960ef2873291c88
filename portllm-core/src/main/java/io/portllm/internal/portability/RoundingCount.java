package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.Optional;

/**
 * Counts what rounding does to BF16 and F32 weights, as {@link io.portllm.Merger} would, without writing them. Bits are compared in whole
 * arrays, without branches. For one thread.
 */
final class RoundingCount {
  private static final int TILE = 1024;

  private final float[] sums;
  private final int[] old = new int[TILE];
  private final int[] sum = new int[TILE];
  private final int[] change = new int[TILE];
  private final int[] touched = new int[TILE];
  private final int[] altered = new int[TILE];
  private final int[] special = new int[TILE];
  private final ByteBuffer bytes = ByteBuffer.allocate(4 * TILE).order(ByteOrder.nativeOrder());
  private final FloatBuffer singles = bytes.asFloatBuffer();
  private final IntBuffer ints = bytes.asIntBuffer();

  /** A counter of up to {@code most} weights at a time. */
  RoundingCount(int most) {
    this.sums = new float[most];
  }

  /** Whether weights of this type are counted. */
  static boolean counts(DType type) {
    return type == DType.BF16 || type == DType.F32;
  }

  /**
   * Counts what adding changes does.
   *
   * @param weights finite, as float32
   * @param changes finite
   * @return the counts, unless a sum leaves the type's range
   */
  Optional<Rounding> count(DType type, float[] weights, float[] changes, int count) {
    Arrays.fill(touched, 0);
    Arrays.fill(altered, 0);
    Arrays.fill(special, 0);
    add(weights, changes, sums, count);
    for (int at = 0; at < count; at += TILE) {
      int length = Math.min(TILE, count - at);
      bits(weights, at, old, length);
      bits(changes, at, change, length);
      bits(sums, at, sum, length);
      if (type == DType.BF16) {
        round(sum, length);
      }
      addTouched(touched, change, length);
      addAltered(altered, change, old, sum, length);
      findSpecial(special, sum, length);
    }
    long allTouched = 0;
    long allAltered = 0;
    int anySpecial = 0;
    for (int i = 0; i < TILE; i++) {
      allTouched += touched[i];
      allAltered += altered[i];
      anySpecial |= special[i];
    }
    return anySpecial < 0 ? Optional.empty() : Optional.of(new Rounding(allTouched, allTouched - allAltered, 0, 0));
  }

  private static void add(float[] weights, float[] changes, float[] sums, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] = weights[i] + changes[i];
    }
  }

  private void bits(float[] values, int at, int[] bits, int count) {
    singles.put(0, values, at, count);
    ints.get(0, bits, 0, count);
  }

  /** To nearest even, in the upper half. */
  private static void round(int[] bits, int count) {
    for (int i = 0; i < count; i++) {
      bits[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) & 0xffff0000;
    }
  }

  /** x | −x has its highest bit set unless x is 0; the shift drops the sign of a zero. */
  private static void addTouched(int[] counts, int[] changes, int count) {
    for (int i = 0; i < count; i++) {
      counts[i] += ((changes[i] << 1) | -(changes[i] << 1)) >>> 31;
    }
  }

  private static void addAltered(int[] counts, int[] changes, int[] old, int[] now, int count) {
    for (int i = 0; i < count; i++) {
      counts[i] += (((changes[i] << 1) | -(changes[i] << 1)) & ((old[i] ^ now[i]) | -(old[i] ^ now[i]))) >>> 31;
    }
  }

  /** The highest bit is set where all bits of the exponent are. */
  private static void findSpecial(int[] found, int[] bits, int count) {
    for (int i = 0; i < count; i++) {
      found[i] |= (bits[i] & 0x7f800000) + 0x00800000;
    }
  }
}
