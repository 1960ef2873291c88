package io.portllm;

import java.util.Optional;

/**
 * The element types of the safetensors and GGUF formats, named as the formats name them.
 *
 * <p>{@link #isArithmetic Arithmetic} types take part in patches. Elements of every other type can be copied and compared, not
 * added. The {@link #isQuantised quantised} types of GGUF store blocks of elements that share scales; patches see such tensors as F32.
 */
public enum DType {
  BOOL(1, 1),
  F4(2, 1),
  F6_E2M3(4, 3),
  F6_E3M2(4, 3),
  U8(1, 1),
  I8(1, 1),
  F8_E5M2(1, 1),
  F8_E4M3(1, 1),
  F8_E8M0(1, 1),
  F8_E4M3FNUZ(1, 1),
  F8_E5M2FNUZ(1, 1),
  I16(1, 2),
  U16(1, 2),
  F16(1, 2),
  BF16(1, 2),
  I32(1, 4),
  U32(1, 4),
  F32(1, 4),
  C64(1, 8),
  F64(1, 8),
  I64(1, 8),
  U64(1, 8),
  Q4_0(32, 18),
  Q4_1(32, 20),
  Q5_0(32, 22),
  Q5_1(32, 24),
  Q8_0(32, 34),
  Q8_1(32, 36),
  Q2_K(256, 84),
  Q3_K(256, 110),
  Q4_K(256, 144),
  Q5_K(256, 176),
  Q6_K(256, 210),
  Q8_K(256, 292),
  IQ2_XXS(256, 66),
  IQ2_XS(256, 74),
  IQ3_XXS(256, 98),
  IQ1_S(256, 50),
  IQ4_NL(32, 18),
  IQ3_S(256, 110),
  IQ2_S(256, 82),
  IQ4_XS(256, 136),
  IQ1_M(256, 56),
  TQ1_0(256, 54),
  TQ2_0(256, 66),
  MXFP4(32, 17),
  NVFP4(64, 36),
  Q1_0(128, 18),
  Q2_0(64, 18);

  private final int blockElements;
  private final int blockBytes;

  DType(int blockElements, int blockBytes) {
    this.blockElements = blockElements;
    this.blockBytes = blockBytes;
  }

  /** The least number of elements that fill whole bytes; of a quantised type, the elements of a block. */
  public int blockElements() {
    return blockElements;
  }

  /** The bytes of {@link #blockElements} elements. */
  public int blockBytes() {
    return blockBytes;
  }

  /**
   * Bits of one element.
   *
   * @throws IllegalStateException if this type is quantised: its elements have no bits of their own
   */
  public int bits() {
    if (isQuantised()) {
      throw new IllegalStateException("elements of " + this + " are stored in blocks of " + blockElements);
    }
    return blockBytes * 8 / blockElements;
  }

  /**
   * Bytes of one element.
   *
   * @throws IllegalStateException if elements of this type do not fill whole bytes
   */
  public int bytes() {
    if (blockElements != 1) {
      throw new IllegalStateException("elements of " + this + " fill no whole bytes, but " + blockElements + " fill " + blockBytes);
    }
    return blockBytes;
  }

  /** Whether patches can change tensors of this type: F64, F32, F16, BF16, F8_E4M3 and F8_E5M2. */
  public boolean isArithmetic() {
    return switch (this) {
      case F64, F32, F16, BF16, F8_E4M3, F8_E5M2 -> true;
      default -> false;
    };
  }

  /** Whether elements are stored in blocks with scales in common, as GGUF's quantised types are. */
  public boolean isQuantised() {
    return compareTo(Q4_0) >= 0;
  }

  /** The type called {@code name}, compared case by case. Safetensors headers know those that are not {@link #isQuantised quantised}. */
  public static Optional<DType> named(String name) {
    for (DType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }
}
