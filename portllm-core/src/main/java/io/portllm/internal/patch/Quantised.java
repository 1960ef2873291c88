package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import java.util.List;
import java.util.Optional;

/** Recognises FP8 weights that mean something only together with a tensor of scales beside them. */
public final class Quantised {
  private static final List<String> SCALE_ENDS = List.of("_scale_inv", "_scale", ".scale", "_scale_2");

  private Quantised() {}

  /** The name of the scales of {@code tensor}, if it is an 8-bit weight with scales. */
  public static Optional<String> scalesOf(ModelVersion model, TensorInfo tensor) {
    if (tensor.dtype() != DType.F8_E4M3 && tensor.dtype() != DType.F8_E5M2) {
      return Optional.empty();
    }
    return SCALE_ENDS.stream().map(end -> tensor.name() + end).filter(name -> model.find(name).isPresent()).findFirst();
  }
}
