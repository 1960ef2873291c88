package io.portllm.extract;

import com.google.common.collect.ImmutableList;
import io.portllm.Patch;
import java.util.List;
import java.util.Objects;

/**
 * A patch in low-rank form, and what it costs.
 *
 * @param patch the patch; its factors are held in memory, 4 bytes for each number, and what was kept whole is read from where it lies
 * @param tensors what became of each tensor, sorted by name
 */
public record Extract(Patch patch, List<TensorExtract> tensors) {
  public Extract {
    Objects.requireNonNull(patch, "patch");
    tensors = ImmutableList.copyOf(tensors);
  }

  /** The relative error of all tensors as one: √Σ‖D − B·A‖² / √Σ‖D‖², or 0 where nothing changed. */
  public double relativeError() {
    double errors = 0;
    double norms = 0;
    for (TensorExtract tensor : tensors) {
      errors += tensor.error() * tensor.error();
      norms += tensor.norm() * tensor.norm();
    }
    return norms == 0 ? 0 : Math.sqrt(errors / norms);
  }
}
