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

  /** Whether there are kernels of their own for this rank, which keep one factor in registers. */
  public static boolean isFewRanks(int rank) {
    return rank == 4 || rank == 8 || rank == 16 || rank == 32;
  }

  /** The rank to which factors are filled up with zeros, which changes no sum: one of few ranks where that is less work. */
  static int filledRank(int rank) {
    return rank <= 4 ? 4 : rank <= 8 ? 8 : rank <= 16 ? 16 : rank > 24 && rank <= 32 ? 32 : rank;
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
