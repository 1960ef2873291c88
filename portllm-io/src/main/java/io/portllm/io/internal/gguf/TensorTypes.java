package io.portllm.io.internal.gguf;

import com.google.common.collect.ImmutableBiMap;
import io.portllm.DType;
import java.util.Optional;
import java.util.OptionalInt;

/** The numbers that tensor types have in GGUF files. Those that are missing belonged to types that were removed from the format. */
final class TensorTypes {
  private static final ImmutableBiMap<Integer, DType> BY_NUMBER =
      ImmutableBiMap.<Integer, DType>builder()
          .put(0, DType.F32)
          .put(1, DType.F16)
          .put(2, DType.Q4_0)
          .put(3, DType.Q4_1)
          .put(6, DType.Q5_0)
          .put(7, DType.Q5_1)
          .put(8, DType.Q8_0)
          .put(9, DType.Q8_1)
          .put(10, DType.Q2_K)
          .put(11, DType.Q3_K)
          .put(12, DType.Q4_K)
          .put(13, DType.Q5_K)
          .put(14, DType.Q6_K)
          .put(15, DType.Q8_K)
          .put(16, DType.IQ2_XXS)
          .put(17, DType.IQ2_XS)
          .put(18, DType.IQ3_XXS)
          .put(19, DType.IQ1_S)
          .put(20, DType.IQ4_NL)
          .put(21, DType.IQ3_S)
          .put(22, DType.IQ2_S)
          .put(23, DType.IQ4_XS)
          .put(24, DType.I8)
          .put(25, DType.I16)
          .put(26, DType.I32)
          .put(27, DType.I64)
          .put(28, DType.F64)
          .put(29, DType.IQ1_M)
          .put(30, DType.BF16)
          .put(34, DType.TQ1_0)
          .put(35, DType.TQ2_0)
          .put(39, DType.MXFP4)
          .put(40, DType.NVFP4)
          .put(41, DType.Q1_0)
          .put(42, DType.Q2_0)
          .buildOrThrow();

  private TensorTypes() {}

  static Optional<DType> of(int number) {
    return Optional.ofNullable(BY_NUMBER.get(number));
  }

  /** The number of {@code type}; empty for types that only safetensors files have. */
  static OptionalInt numberOf(DType type) {
    Integer number = BY_NUMBER.inverse().get(type);
    return number == null ? OptionalInt.empty() : OptionalInt.of(number);
  }
}
