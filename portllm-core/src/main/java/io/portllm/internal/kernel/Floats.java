package io.portllm.internal.kernel;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Conversions between stored elements and float32, element by element and in runs.
 *
 * <p>Stored elements are handled as their bits in the low end of an int. Narrowing rounds to nearest, ties to even; NaN stays NaN.
 */
public final class Floats {
  private Floats() {}

  /** The bits that are all set in an infinite or NaN element, and in no finite one. */
  static int specialMask(DType type) {
    return switch (type) {
      case F32 -> 0x7f80_0000;
      case BF16 -> 0x7f80;
      case F16 -> 0x7c00;
      case F8_E5M2 -> 0x7c;
      // F8_E4M3 has no infinity: only 0x7f and 0xff are NaN.
      case F8_E4M3 -> 0x7f;
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    };
  }

  /** Reads {@code count} elements from element {@code start} of a little-endian buffer as bits. */
  static void readBits(DType type, ByteBuffer source, int start, int[] bits, int count) {
    switch (type.bits()) {
      case 8 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = source.get(start + i) & 0xff;
        }
      }
      case 16 -> readHalves(source, start, bits, count);
      case 32 -> from(source, 4 * start).asIntBuffer().get(0, bits, 0, count);
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  /** The bytes from {@code at} on; none where nothing is left. */
  private static ByteBuffer from(ByteBuffer bytes, int at) {
    return bytes.duplicate().position(Math.min(at, bytes.limit())).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Copies words of two elements to the end of the array, and takes them apart from its start on: an element overtakes no word. */
  private static void readHalves(ByteBuffer source, int start, int[] bits, int count) {
    int words = count / 2;
    from(source, 2 * start).asIntBuffer().get(0, bits, words, words);
    for (int i = 0; i < words; i++) {
      int word = bits[words + i];
      bits[2 * i] = word & 0xffff;
      bits[2 * i + 1] = word >>> 16;
    }
    if (count % 2 == 1) {
      bits[count - 1] = source.getShort(2 * (start + count - 1)) & 0xffff;
    }
  }

  /** Writes what {@link #readBits} reads. */
  static void writeBits(DType type, int[] bits, ByteBuffer target, int start, int count) {
    switch (type.bits()) {
      case 8 -> {
        for (int i = 0; i < count; i++) {
          target.put(start + i, (byte) bits[i]);
        }
      }
      case 16 -> {
        for (int i = 0; i < count; i++) {
          target.putShort(2 * (start + i), (short) bits[i]);
        }
      }
      case 32 -> {
        for (int i = 0; i < count; i++) {
          target.putInt(4 * (start + i), bits[i]);
        }
      }
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  /** Widens bits to float32, exactly. */
  static void widen(DType type, int[] bits, float[] values, int count) {
    switch (type) {
      case F32 -> {
        for (int i = 0; i < count; i++) {
          values[i] = Float.intBitsToFloat(bits[i]);
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = Float.intBitsToFloat(bits[i] << 16);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          values[i] = f16ToFloat(bits[i]);
        }
      }
      case F8_E5M2 -> {
        for (int i = 0; i < count; i++) {
          values[i] = f16ToFloat(bits[i] << 8);
        }
      }
      case F8_E4M3 -> {
        for (int i = 0; i < count; i++) {
          values[i] = e4m3ToFloat(bits[i]);
        }
      }
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  /** Rounds float32 values to bits. */
  static void narrow(DType type, float[] values, int[] bits, int count) {
    switch (type) {
      case F32 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = Float.floatToRawIntBits(values[i]);
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = floatToBf16(values[i]);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = floatToF16(values[i]);
        }
      }
      case F8_E5M2 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = floatToSmall(values[i], 5, 2);
        }
      }
      case F8_E4M3 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = floatToE4m3(values[i]);
        }
      }
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  /** Reads elements of any arithmetic type as float32; F64 is rounded. */
  public static void read(DType type, ByteBuffer source, int start, float[] values, int count, int[] scratch) {
    if (type == DType.F64) {
      for (int i = 0; i < count; i++) {
        values[i] = (float) source.getDouble(8 * (start + i));
      }
    } else if (type == DType.F32) {
      from(source, 4 * start).asFloatBuffer().get(0, values, 0, count);
    } else {
      readBits(type, source, start, scratch, count);
      widen(type, scratch, values, count);
    }
  }

  /** Writes float32 values as elements of any arithmetic type, rounded once. */
  public static void write(DType type, float[] values, ByteBuffer target, int start, int count, int[] scratch) {
    if (type == DType.F64) {
      for (int i = 0; i < count; i++) {
        target.putDouble(8 * (start + i), values[i]);
      }
    } else if (type == DType.F32) {
      from(target, 4 * start).asFloatBuffer().put(0, values, 0, count);
    } else {
      narrow(type, values, scratch, count);
      writeBits(type, scratch, target, start, count);
    }
  }

  /** Reads elements of any arithmetic type as float64, exactly. */
  public static void read(DType type, ByteBuffer source, int start, double[] values, int count, int[] scratch, float[] floats) {
    if (type == DType.F64) {
      for (int i = 0; i < count; i++) {
        values[i] = source.getDouble(8 * (start + i));
      }
    } else {
      read(type, source, start, floats, count, scratch);
      for (int i = 0; i < count; i++) {
        values[i] = floats[i];
      }
    }
  }

  /**
   * Reads the differences of two runs as float32: taken in float32, or in float64 and then rounded if either run is F64.
   *
   * @param other as long as {@code values}, overwritten
   */
  public static void readDifference(
      DType type, ByteBuffer source, DType minusType, ByteBuffer minus, int start, float[] values, float[] other, int count, int[] scratch) {
    if (type == DType.F64 || minusType == DType.F64) {
      double[] wide = new double[count];
      double[] wideOther = new double[count];
      read(type, source, start, wide, count, scratch, other);
      read(minusType, minus, start, wideOther, count, scratch, other);
      for (int i = 0; i < count; i++) {
        values[i] = (float) (wide[i] - wideOther[i]);
      }
      return;
    }
    read(type, source, start, values, count, scratch);
    read(minusType, minus, start, other, count, scratch);
    for (int i = 0; i < count; i++) {
      values[i] -= other[i];
    }
  }

  static int floatToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (value != value) {
      // The quiet bit keeps a NaN whose payload lies in the cut half from becoming infinite.
      return (bits >>> 16) | 0x40;
    }
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }

  /** Widens the bits of an F16, exactly. Bits above the lowest 16 are ignored. */
  public static float f16ToFloat(int half) {
    int sign = (half & 0x8000) << 16;
    int magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) {
      return Float.intBitsToFloat(sign | 0x7f80_0000 | ((magnitude & 0x3ff) << 13));
    }
    // Multiplying by 2^112 moves the exponent's bias from 15 to 127, subnormals included.
    float value = Float.intBitsToFloat(magnitude << 13) * 0x1p112f;
    return Float.intBitsToFloat(sign | Float.floatToRawIntBits(value));
  }

  /** Rounds to the bits of the nearest F16, ties to even; past the largest finite value they are infinity's. */
  public static int floatToF16(float value) {
    return floatToSmall(value, 5, 10);
  }

  static float e4m3ToFloat(int code) {
    int sign = (code & 0x80) << 24;
    int magnitude = code & 0x7f;
    if (magnitude == 0x7f) {
      return Float.intBitsToFloat(sign | 0x7fc0_0000);
    }
    float value = Float.intBitsToFloat(magnitude << 20) * 0x1p120f;
    return Float.intBitsToFloat(sign | Float.floatToRawIntBits(value));
  }

  /** Rounds to a type with an infinity. Past the largest finite value the result is infinite. */
  static int floatToSmall(float value, int exponentBits, int mantissaBits) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 31) << (exponentBits + mantissaBits);
    int infinity = ((1 << exponentBits) - 1) << mantissaBits;
    if (value != value) {
      int payload = (bits & 0x7f_ffff) >>> (23 - mantissaBits);
      return sign | infinity | (1 << (mantissaBits - 1)) | payload;
    }
    return sign | Math.min(round(bits & 0x7fff_ffff, exponentBits, mantissaBits), infinity);
  }

  /** Rounds to F8_E4M3 (OCP FP8, section 5). Past the largest finite value, 448, the result is NaN. */
  static int floatToE4m3(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 31) << 7;
    if (value != value) {
      return sign | 0x7f;
    }
    return sign | Math.min(round(bits & 0x7fff_ffff, 4, 3), 0x7f);
  }

  /** Rounds a magnitude to the code of the nearest value, as if the exponent had no upper end. */
  private static int round(int magnitude, int exponentBits, int mantissaBits) {
    int bias = (1 << (exponentBits - 1)) - 1;
    int exponent = (magnitude >>> 23) - 127 + bias;
    int shift = 23 - mantissaBits;
    if (exponent >= 1) {
      int code = magnitude - ((127 - bias) << 23);
      return (int) (((long) code + (1 << (shift - 1)) - 1 + ((code >>> shift) & 1)) >>> shift);
    }
    // Subnormal: the implicit one becomes explicit and moves right; what falls off decides the rounding.
    shift += 1 - exponent;
    if (shift > 24) {
      return 0;
    }
    int significand = (magnitude & 0x7f_ffff) | 0x80_0000;
    return (significand + (1 << (shift - 1)) - 1 + ((significand >>> shift) & 1)) >>> shift;
  }
}
