package io.portllm.internal.cuda;

import io.portllm.DType;

/** What the kernels can do. */
public final class Kernels {
  private Kernels() {}

  /** Whether the kernels merge weights of this type. F64 is left to the CPU. */
  public static boolean runsOn(DType type) {
    return switch (type) {
      case F32, F16, BF16, F8_E4M3, F8_E5M2 -> true;
      default -> false;
    };
  }

  /** The number of an arithmetic type in merge.cu. */
  public static int code(DType type) {
    return switch (type) {
      case F64 -> 0;
      case F32 -> 1;
      case F16 -> 2;
      case BF16 -> 3;
      case F8_E4M3 -> 4;
      case F8_E5M2 -> 5;
      default -> throw new IllegalArgumentException("no arithmetic on " + type);
    };
  }

  /**
   * Whether the product of any value of one array with any of the other is a float32: they have 12 significant bits at most, as all values
   * of BF16 and F16 do, and are neither tiny nor huge.
   */
  static boolean areProductsExact(float[] left, float[] right) {
    return areShort(left) && areShort(right);
  }

  private static boolean areShort(float[] values) {
    for (float value : values) {
      float size = Math.abs(value);
      boolean isShort = (Float.floatToRawIntBits(value) & 0xfff) == 0 && size >= 0x1p-60f && size <= 0x1p60f;
      if (!isShort && size != 0) {
        return false;
      }
    }
    return true;
  }
}
