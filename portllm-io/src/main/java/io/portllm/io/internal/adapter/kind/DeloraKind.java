package io.portllm.io.internal.adapter.kind;

import io.portllm.BasePolicy;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * DeLoRA (arXiv 2503.18225): a low-rank product of bounded norm, times the norms of the weight's columns. Where the adapter stores those of its
 * base, as PEFT does, they are the frozen change's, which then needs no base.
 */
final class DeloraKind implements AdapterKind {
  private static final List<String> PARTS = List.of("delora_A", "delora_B", "delora_lambda", "delora_w_norm");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    Kept kept = new Kept();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor a = module.get("delora_A");
      Shape shape = a.info().shape();
      if (shape.rank() != 2 || shape.elements() == 0) {
        throw module.shape("delora_A must be rank x in but is " + shape);
      }
      Tensor b = module.get("delora_B", module.get("delora_B").info().shape().rows(), shape.rows());
      Tensor lambda = module.get("delora_lambda", 1);
      Optional<Tensor> norms = Optional.empty();
      if (module.has("delora_w_norm")) {
        norms = Optional.of(module.get("delora_w_norm", shape.columns()));
      }
      if (base.policy() == BasePolicy.EVALUATE_ANEW) {
        norms = Optional.empty();
      }
      Shape weight = Shape.of(b.info().shape().rows(), shape.columns());
      deltas.put(module.weight(), new Delta.Computed(new Delora(weight, b, a, lambda, norms, kept), Optional.empty()));
    }
    return deltas;
  }
}
