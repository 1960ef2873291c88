package io.portllm.io.internal.gguf.layout;

import io.portllm.DType;

/**
 * How far weights may be from those they were stored from.
 *
 * @param relative the norm of a row's errors over the norm of the row. For quantised types at least twice what normally distributed weights
 *     give ({@code docs/reference/gguf-architectures.md}); rows in a wrong place give 1.4
 * @param absolute the error of an element, whatever its size: what rounding does to numbers that the type's scales are too coarse for
 */
record ErrorBound(double relative, double absolute) {
  /**
   * The bound of a type.
   *
   * @param shift what was added to the weights before they were stored
   */
  static ErrorBound of(DType type, float shift) {
    double relative = switch (type) {
      case F64, F32 -> 0x1p-23;
      case F16 -> 0x1p-10;
      case BF16 -> 0x1p-8;
      case Q8_0, Q8_1, Q8_K -> 0.03;
      case Q6_K -> 0.08;
      case Q5_0, Q5_1, Q5_K -> 0.2;
      case Q4_0, Q4_1, Q4_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4 -> 0.4;
      case Q3_K, IQ3_S, IQ3_XXS -> 0.6;
      case Q2_K, IQ2_S, IQ2_XS, IQ2_XXS -> 0.8;
      default -> 1;
    };
    double absolute = type.isQuantised() ? 0x1p-15 : type == DType.F16 ? 0x1p-24 : 0;
    return new ErrorBound(relative, absolute + relative * Math.abs(shift));
  }

  /** The looser of two, for a tensor of which parts are stored in different types. */
  ErrorBound or(ErrorBound other) {
    return new ErrorBound(Math.max(relative, other.relative), Math.max(absolute, other.absolute));
  }
}
