package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Tensor;
import java.util.Optional;

/** Makes the changes of the modules of a LoRA adapter that has magnitudes. */
public final class DoraChanges {
  private final Kept kept = new Kept();

  /**
   * The change of a module's weight.
   *
   * @param product what plain LoRA would add
   * @param magnitude the norms of the outputs, as many as the product's B has rows
   */
  public Delta of(Delta.LowRank product, Tensor magnitude) {
    return new Delta.Computed(
        new Dora(product.shape(), product.b(), product.a(), product.scale(), product.transposed(), magnitude, kept), Optional.empty());
  }
}
