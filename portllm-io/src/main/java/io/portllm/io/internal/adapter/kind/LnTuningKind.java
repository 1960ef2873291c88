package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** LN tuning (arXiv 2312.11420): normalisation layers saved whole. */
final class LnTuningKind implements AdapterKind {
  private static final String PREFIX = "ln_tuning_layers.";

  @Override
  public List<String> parts() {
    return List.of(PREFIX + "weight", PREFIX + "bias");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) {
    Map<String, Delta> deltas = new TreeMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      for (String part : parts()) {
        Optional<Tensor> stored = module.find(part);
        stored.ifPresent(tensor -> deltas.put(module.path() + "." + part.substring(PREFIX.length()), new Delta.Replacement(tensor)));
      }
    }
    return deltas;
  }
}
