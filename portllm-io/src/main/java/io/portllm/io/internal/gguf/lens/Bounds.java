package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;

/** How far the values of a stored type may be from those that they were converted from. */
final class Bounds {
  /** The most that is allowed of any type: a row that is another one differs by about the square root of two. */
  private static final double MOST = 0.9;

  private Bounds() {}

  /** The largest error of one element of an arithmetic type, relative to its value: half a unit in the last place. */
  static double ofElement(DType type) {
    return switch (type) {
      case BF16 -> 0x1p-9;
      case F16 -> 0x1p-11;
      default -> 0x1p-24;
    };
  }

  /** The largest error of one element, beside the relative one: half of the least positive number. */
  static double leastOfElement(DType type) {
    return type == DType.F16 ? 0x1p-25 : 0;
  }

  /**
   * The largest error of a row of a quantised type, relative to the norm of the row. Three times what ggml's quantisers lose of normally
   * distributed weights, which leaves room for rows with outliers.
   */
  static double ofRow(DType type) {
    double usual =
        switch (type) {
          case Q8_0, Q8_1, Q8_K -> 0.0054;
          case Q6_K -> 0.0177;
          case Q5_0, Q5_1, Q5_K -> 0.0427;
          case Q4_0, Q4_1, Q4_K, IQ4_NL, IQ4_XS -> 0.0860;
          case MXFP4, NVFP4 -> 0.1140;
          case Q3_K, IQ3_S -> 0.1660;
          default -> MOST;
        };
    return Math.min(MOST, 3 * usual);
  }
}
