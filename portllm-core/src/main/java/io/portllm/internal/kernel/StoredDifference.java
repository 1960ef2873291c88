package io.portllm.internal.kernel;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Differences of weights, and changes in general, as elements that can be stored. */
public final class StoredDifference {
  private static final int BLOCK = 1024;

  private StoredDifference() {}

  /** What a run of differences is like. */
  public record Facts(boolean allZero, boolean fitsBf16, boolean fitsF16) {
    /** Nothing looked at yet. */
    public static final Facts NONE = new Facts(true, true, true);

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
        facts = new Facts(facts.allZero && doublesEqual(tunedType, tuned, baseType, base, start, length), false, false);
      } else {
        Floats.readDifference(tunedType, tuned, baseType, base, start, values, other, length, scratch);
        facts = examine(facts, values, length);
      }
    }
    return facts;
  }

  /** Looks at {@code count} values. */
  public static Facts examine(Facts soFar, float[] values, int count) {
    return new Facts(
        soFar.allZero && isZero(values, count), soFar.fitsBf16 && fitsBf16(values, count), soFar.fitsF16 && fits(DType.F16, values, count));
  }

  /** Reads {@code count} differences of types of which none is F64; both buffers are little-endian, from index 0. */
  public static void read(DType tunedType, ByteBuffer tuned, DType baseType, ByteBuffer base, float[] values, int count) {
    float[] block = new float[BLOCK];
    float[] other = new float[BLOCK];
    int[] scratch = new int[BLOCK];
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      Floats.readDifference(tunedType, tuned, baseType, base, start, block, other, length, scratch);
      System.arraycopy(block, 0, values, start, length);
    }
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
        write(values, length, to, target, start, bits);
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
    write(values, count, to, target, 0, new int[to == DType.F32 ? 0 : count]);
  }

  private static void write(float[] values, int count, DType to, ByteBuffer target, int start, int[] bits) {
    if (to == DType.F32) {
      target.duplicate().position(0).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(start, values, 0, count);
    } else {
      Floats.narrow(to, values, bits, count);
      Floats.writeBits(to, bits, target, start, count);
    }
  }

  private static boolean isZero(float[] values, int count) {
    for (int i = 0; i < count; i++) {
      if (values[i] != 0) {
        return false;
      }
    }
    return true;
  }

  /** Whether the lower halves of all bits are zero; NaNs are looked at one by one, since rounding may quieten them. */
  private static boolean fitsBf16(float[] values, int count) {
    int lower = 0;
    int special = 0;
    for (int i = 0; i < count; i++) {
      int bits = Float.floatToRawIntBits(values[i]);
      lower |= bits;
      special |= (~bits & 0x7f80_0000) - 1;
    }
    return (lower & 0xffff) == 0 && (special >= 0 || fits(DType.BF16, values, count));
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
