package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.Mismatch;
import io.portllm.TensorInfo;
import io.portllm.internal.quant.BlockCodecs;
import java.util.List;
import java.util.Optional;

/** The types that changed tensors are written in. */
final class Written {
  private Written() {}

  /**
   * A tensor as it is written once it is changed.
   *
   * @param raised the type for tensors whose own cannot be written
   * @param mismatches receives why it cannot be written, if it cannot
   */
  static Optional<TensorInfo> as(TensorInfo tensor, Optional<DType> raised, List<Mismatch> mismatches) {
    if (!tensor.dtype().isQuantised() || canWrite(tensor.dtype())) {
      return Optional.of(tensor);
    }
    if (raised.isEmpty()) {
      mismatches.add(
          Mismatch.of(
              tensor.name(),
              "is " + tensor.dtype() + ", which cannot be written without an importance matrix; name a type to raise it to, such as Q4_K"));
      return Optional.empty();
    }
    DType type = raised.get();
    long rowLength = tensor.shape().dimension(tensor.shape().rank() - 1);
    if (rowLength % type.blockElements() != 0) {
      mismatches.add(
          Mismatch.of(
              tensor.name(),
              "cannot be raised from " + tensor.dtype() + " to " + type + ", whose blocks of " + type.blockElements() + " do not fill rows of "
                  + rowLength));
      return Optional.empty();
    }
    return Optional.of(new TensorInfo(tensor.name(), type, tensor.shape()));
  }

  private static boolean canWrite(DType type) {
    return type != DType.Q8_1 && BlockCodecs.of(type).quantises();
  }
}
