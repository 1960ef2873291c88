package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Rounding;
import java.nio.ByteBuffer;

/** Stored elements of one arithmetic type as elements of another, rounded once. */
public final class Conversion {
  private static final int BLOCK = 1024;

  private Conversion() {}

  /**
   * Converts {@code count} elements.
   *
   * @param source elements, little-endian, from index 0
   * @param target written from index 0, little-endian
   * @return the elements as touched ones, and how many that were finite are no longer
   */
  public static Rounding convert(DType from, ByteBuffer source, DType to, ByteBuffer target, int count) {
    long overflowed = 0;
    float[] floats = new float[BLOCK];
    int[] bits = new int[BLOCK];
    double[] doubles = new double[BLOCK];
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      if (to == DType.F64) {
        Floats.read(from, source, start, doubles, length, bits, floats);
        for (int i = 0; i < length; i++) {
          target.putDouble(8 * (start + i), doubles[i]);
        }
        continue;
      }
      Floats.read(from, source, start, doubles, length, bits, floats);
      Floats.read(from, source, start, floats, length, bits);
      if (from == DType.F64 && to != DType.F32) {
        for (int i = 0; i < length; i++) {
          floats[i] = sticky(doubles[i]);
        }
      }
      Floats.narrow(to, floats, bits, length);
      Floats.writeBits(to, bits, target, start, length);
      int special = Floats.specialMask(to);
      for (int i = 0; i < length; i++) {
        if ((bits[i] & special) == special && Double.isFinite(doubles[i])) {
          overflowed++;
        }
      }
    }
    return new Rounding(count, 0, overflowed, 0);
  }

  /**
   * The float next to {@code value} whose last bit is set, unless {@code value} is a float. Rounding it further then gives what rounding
   * {@code value} at once would; the nearest float might be a midpoint that {@code value} is not.
   */
  private static float sticky(double value) {
    float nearest = (float) value;
    int bits = Float.floatToRawIntBits(nearest);
    if (nearest == value || Double.isNaN(value) || (bits & 1) == 1) {
      return nearest;
    }
    return Float.intBitsToFloat(Math.abs(nearest) > Math.abs(value) ? bits - 1 : bits + 1);
  }
}
