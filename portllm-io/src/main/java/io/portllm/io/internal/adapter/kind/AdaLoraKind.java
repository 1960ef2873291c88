package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * AdaLoRA (arXiv 2303.10512): {@code B·diag(E)·A · alpha / (rank + 1e-5)}, with the ranks that pruning left.
 */
final class AdaLoraKind implements AdapterKind {
  private static final List<String> PARTS = List.of("lora_A", "lora_B", "lora_E", "ranknum");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    boolean transposed = tensors.config().fanInFanOut();
    double alpha = tensors.config().number("lora_alpha");
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor a = module.matrix("lora_A");
      long rank = a.info().shape().rows();
      Tensor e = module.get("lora_E", rank, 1);
      Tensor b = module.matrixOfColumns("lora_B", rank);
      double count = module.has("ranknum") ? Numbers.all(module.get("ranknum", 1))[0] : rank;
      double scale = (alpha > 0 ? alpha : rank) / (count + 1e-5);
      deltas.put(module.weight(), LowRank.of(b, RowScaled.of(a, e), scale, transposed));
    }
    return deltas;
  }
}
