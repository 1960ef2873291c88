package io.portllm;

import java.util.Optional;

/**
 * The element types of the safetensors format, named as the format names them.
 *
 * <p>{@link #isArithmetic Arithmetic} types take part in patches. Elements of every other type can be copied and compared, not
 * added.
 */
public enum DType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  private final int bits;

  DType(int bits) {
    this.bits = bits;
  }

  /** Bits of one element. */
  public int bits() {
    return bits;
  }

  /**
   * Bytes of one element.
   *
   * @throws IllegalStateException if elements of this type do not fill whole bytes
   */
  public int bytes() {
    if (bits % 8 != 0) {
      throw new IllegalStateException("elements of " + this + " have " + bits + " bits, which is no number of whole bytes");
    }
    return bits / 8;
  }

  /** Whether patches can change tensors of this type: F64, F32, F16, BF16, F8_E4M3 and F8_E5M2. */
  public boolean isArithmetic() {
    return switch (this) {
      case F64, F32, F16, BF16, F8_E4M3, F8_E5M2 -> true;
      default -> false;
    };
  }

  /** The type called {@code name} in a safetensors header, compared case by case as the format does. */
  public static Optional<DType> named(String name) {
    for (DType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }
}
