package io.portllm.internal.kernel;

import io.portllm.DType;
import java.nio.ByteBuffer;

/** Differences of weights, and changes in general, as elements that can be stored. */
public final class StoredDifference {
  private static final int BLOCK = 1024;

  private StoredDifference() {}

  /** What a run of differences is like. */
  public record Facts(boolean allZero, boolean fitsBf16, boolean fitsF16) {
    /** Nothing looked at yet. */
    public static final Facts NONE = new Facts(true, true, true);

    /** What two runs together are like. */
    public Facts and(Facts other) {
      return new Facts(allZero && other.allZero, fitsBf16 && other.fitsBf16, fitsF16 && other.fitsF16);
    }
  }

  /** Looks at {@code count} differences {@code tuned − base}; both buffers are little-endian, from index 0. */
  public static Facts examine(Facts soFar, DType tunedType, ByteBuffer tuned, DType baseType, ByteBuffer base, int count) {
    float[] values = new float[BLOCK];
    float[] other = new float[BLOCK];
    int[] scratch = new int[BLOCK];
    Facts facts = soFar;
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      if (tunedType == DType.F64 || baseType == DType.F64) {
        facts = facts.and(new Facts(doublesEqual(tunedType, tuned, baseType, base, start, length), false, false));
        continue;
      }
      Floats.readDifference(tunedType, tuned, baseType, base, start, values, other, length, scratch);
      facts = facts.and(examine(values, length));
    }
    return facts;
  }

  /** Looks at {@code count} values. */
  public static Facts examine(float[] values, int count) {
    return new Facts(isZero(values, count), fits(DType.BF16, values, count), fits(DType.F16, values, count));
  }

  /** Writes {@code count} differences as elements of type {@code to}: F64, or a type that holds them exactly. */
  public static void write(DType tunedType, ByteBuffer tuned, DType baseType, ByteBuffer base, DType to, ByteBuffer target, int count) {
    float[] values = new float[BLOCK];
    float[] other = new float[BLOCK];
    int[] bits = new int[BLOCK];
    double[] wide = new double[BLOCK];
    double[] wideOther = new double[BLOCK];
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      if (to == DType.F64) {
        Floats.read(tunedType, tuned, start, wide, length, bits, other);
        Floats.read(baseType, base, start, wideOther, length, bits, other);
        for (int i = 0; i < length; i++) {
          target.putDouble(8 * (start + i), wide[i] - wideOther[i]);
        }
      } else {
        Floats.readDifference(tunedType, tuned, baseType, base, start, values, other, length, bits);
        Floats.narrow(to, values, bits, length);
        Floats.writeBits(to, bits, target, start, length);
      }
    }
  }

  private static boolean doublesEqual(DType tunedType, ByteBuffer tuned, DType baseType, ByteBuffer base, int start, int count) {
    double[] mine = new double[count];
    double[] theirs = new double[count];
    Floats.read(tunedType, tuned, start, mine, count, new int[count], new float[count]);
    Floats.read(baseType, base, start, theirs, count, new int[count], new float[count]);
    for (int i = 0; i < count; i++) {
      if (mine[i] - theirs[i] != 0) {
        return false;
      }
    }
    return true;
  }

  /** Writes {@code count} values as elements of type {@code to}, which holds them exactly. */
  public static void write(float[] values, int count, DType to, ByteBuffer target) {
    int[] bits = new int[count];
    Floats.narrow(to, values, bits, count);
    Floats.writeBits(to, bits, target, 0, count);
  }

  private static boolean isZero(float[] values, int count) {
    for (int i = 0; i < count; i++) {
      if (values[i] != 0) {
        return false;
      }
    }
    return true;
  }

  private static boolean fits(DType type, float[] values, int count) {
    int[] bits = new int[count];
    float[] back = new float[count];
    Floats.narrow(type, values, bits, count);
    Floats.widen(type, bits, back, count);
    for (int i = 0; i < count; i++) {
      if (Float.floatToRawIntBits(back[i]) != Float.floatToRawIntBits(values[i])) {
        return false;
      }
    }
    return true;
  }
}
