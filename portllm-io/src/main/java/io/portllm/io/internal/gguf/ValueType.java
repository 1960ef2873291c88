package io.portllm.io.internal.gguf;

import java.util.Optional;

/** The types of metadata values, in the order of their numbers in the format. */
public enum ValueType {
  U8(1),
  I8(1),
  U16(2),
  I16(2),
  U32(4),
  I32(4),
  F32(4),
  BOOL(1),
  STRING(8),
  ARRAY(12),
  U64(8),
  I64(8),
  F64(8);

  private final int leastBytes;

  ValueType(int leastBytes) {
    this.leastBytes = leastBytes;
  }

  /** The bytes of a value; of a string or an array, those that it has at least. */
  int leastBytes() {
    return leastBytes;
  }

  /** Whether values are whole numbers. */
  boolean isInteger() {
    return switch (this) {
      case U8, I8, U16, I16, U32, I32, U64, I64 -> true;
      default -> false;
    };
  }

  static Optional<ValueType> of(int number) {
    return number >= 0 && number < values().length ? Optional.of(values()[number]) : Optional.empty();
  }
}
