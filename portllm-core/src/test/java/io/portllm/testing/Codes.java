package io.portllm.testing;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.Map;

/**
 * Elements of floating types by their definition, sign · 2^e · (1 + m / 2^k), and rounding by search among all values. Slow, and
 * shares nothing with the code under test.
 */
public final class Codes {
  private static final Map<DType, double[]> FINITE = new EnumMap<>(DType.class);

  private Codes() {}

  private static int mantissaBits(DType type) {
    return switch (type) {
      case F16 -> 10;
      case BF16 -> 7;
      case F8_E5M2 -> 2;
      case F8_E4M3 -> 3;
      default -> throw new IllegalArgumentException(type + " is not small");
    };
  }

  /** The code just past the largest finite value: infinity, or NaN where there is none. */
  public static int pastLargest(DType type) {
    return type == DType.F8_E4M3 ? 0x7f : ((1 << (type.bits() - 1)) - 1) >> mantissaBits(type) << mantissaBits(type);
  }

  /** The bit of the sign. */
  public static int signBit(DType type) {
    return 1 << (type.bits() - 1);
  }

  /** What the bits of a small type mean. */
  public static double decode(DType type, int bits) {
    int sign = (bits & signBit(type)) == 0 ? 1 : -1;
    int code = bits & (signBit(type) - 1);
    int past = pastLargest(type);
    if (code >= past) {
      return code > past || type == DType.F8_E4M3 ? Double.NaN : sign * Double.POSITIVE_INFINITY;
    }
    int k = mantissaBits(type);
    int bias = (1 << (type.bits() - 2 - k)) - 1;
    int exponent = code >> k;
    double mantissa = (code & ((1 << k) - 1)) / (double) (1 << k);
    return sign * (exponent == 0 ? Math.pow(2, 1 - bias) * mantissa : Math.pow(2, exponent - bias) * (1 + mantissa));
  }

  /** The values of all finite codes without sign, rising. */
  public static double[] finite(DType type) {
    synchronized (FINITE) {
      return FINITE.computeIfAbsent(type, t -> {
        double[] values = new double[pastLargest(t)];
        for (int code = 0; code < values.length; code++) {
          values[code] = decode(t, code);
        }
        return values;
      });
    }
  }

  /** The bits of the nearest value, of the even code if two are as near. NaN becomes some NaN of its sign. */
  public static int encode(DType type, double value) {
    int sign = Double.doubleToRawLongBits(value) < 0 ? signBit(type) : 0;
    double[] values = finite(type);
    if (Double.isNaN(value)) {
      return sign | (signBit(type) - 1);
    }
    return sign | nearest(values, Math.abs(value));
  }

  private static int nearest(double[] values, double magnitude) {
    int low = 0;
    int high = values.length;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (values[middle] <= magnitude) {
        low = middle;
      } else {
        high = middle;
      }
    }
    double below = values[low];
    // Past the largest value, the grid goes on as if there were one more.
    double above = low + 1 < values.length ? values[low + 1] : below + (below - values[low - 1]);
    // Exact: midpoints of such types have few digits.
    double middle = (below + above) / 2;
    if (magnitude == middle) {
      return low % 2 == 0 ? low : low + 1;
    }
    return magnitude < middle ? low : low + 1;
  }

  /** Element {@code index} of a little-endian buffer. */
  public static double get(DType type, ByteBuffer bytes, int index) {
    ByteBuffer little = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    return switch (type) {
      case F64 -> little.getDouble(8 * index);
      case F32 -> little.getFloat(4 * index);
      case F16, BF16 -> decode(type, little.getShort(2 * index) & 0xffff);
      default -> decode(type, little.get(index) & 0xff);
    };
  }

  /** Puts {@code value}, rounded, as element {@code index} of a little-endian buffer. */
  public static void put(DType type, ByteBuffer bytes, int index, double value) {
    ByteBuffer little = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    switch (type) {
      case F64 -> little.putDouble(8 * index, value);
      case F32 -> little.putFloat(4 * index, (float) value);
      case F16, BF16 -> little.putShort(2 * index, (short) encode(type, value));
      default -> little.put(index, (byte) encode(type, value));
    }
  }

  /** These values as elements. */
  public static byte[] bytes(DType type, double... values) {
    ByteBuffer bytes = ByteBuffer.allocate(values.length * type.bytes());
    for (int i = 0; i < values.length; i++) {
      put(type, bytes, i, values[i]);
    }
    return bytes.array();
  }

  /** These elements as values. */
  public static double[] values(DType type, byte[] bytes) {
    double[] values = new double[bytes.length / type.bytes()];
    for (int i = 0; i < values.length; i++) {
      values[i] = get(type, ByteBuffer.wrap(bytes), i);
    }
    return values;
  }
}
