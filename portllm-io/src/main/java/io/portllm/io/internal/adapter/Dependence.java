package io.portllm.io.internal.adapter;

import io.portllm.BasePolicy;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.internal.patch.Quantised;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.kind.AdapterBase;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Decides which weights the changes that depend on weights are made of. */
final class Dependence {
  private final String adapter;
  private final AdapterBase base;
  private final Map<String, Tensor> stored;
  private final List<Mismatch> mismatches = new ArrayList<>();

  private Dependence(String adapter, AdapterBase base, Map<String, Tensor> stored) {
    this.adapter = adapter;
    this.base = base;
    this.stored = stored;
  }

  /**
   * The changes under the policy of {@code base}: frozen on its weights, or left to be made of the new base's.
   *
   * @param adapter the adapter's name, for messages
   * @param stored weights that the adapter stores whole beside its factors, which are then what the factors change
   * @throws IncompatibleModelException if a change cannot be frozen
   */
  static Map<String, Delta> settle(String adapter, Map<String, Delta> changes, AdapterBase base, Map<String, Tensor> stored) {
    if (base.policy() == BasePolicy.EVALUATE_ANEW) {
      return changes;
    }
    Dependence dependence = new Dependence(adapter, base, stored);
    Map<String, Delta> settled = new TreeMap<>();
    changes.forEach((name, delta) -> settled.put(name, dependence.freeze(name, delta)));
    dependence.refuse();
    return settled;
  }

  private Delta freeze(String name, Delta delta) {
    if (!(delta instanceof Delta.Computed computed) || !computed.change().dependsOnWeights()) {
      return delta;
    }
    Optional<Tensor> weights = Optional.ofNullable(stored.get(name)).or(() -> base.tensor(name));
    Optional<String> obstacle = obstacle(delta, weights);
    if (obstacle.isPresent()) {
      mismatches.add(Mismatch.of(name, obstacle.get()));
      return delta;
    }
    return new Delta.Computed(computed.change(), weights);
  }

  private Optional<String> obstacle(Delta delta, Optional<Tensor> weights) {
    if (base.model().isEmpty()) {
      return Optional.of(
          "changes by an amount that depends on the base's weights: give the adapter's base, or have the change computed on the new base "
              + "(--base-dependent evaluate, BasePolicy.EVALUATE_ANEW)");
    }
    if (weights.isEmpty()) {
      return Optional.of("is changed by the adapter but is not in the base");
    }
    Tensor found = weights.get();
    if (!found.info().dtype().isArithmetic()) {
      return Optional.of("is " + found.info().dtype() + " in the base, which cannot be changed");
    }
    Optional<String> scales = Quantised.scalesOf(found.version(), found.info());
    if (scales.isPresent()) {
      return Optional.of(found.info().dtype() + " weights scaled by " + Names.quote(scales.get()) + " cannot be changed");
    }
    if (!found.info().shape().equals(delta.shape())) {
      return Optional.of("is " + found.info().shape() + " in the base, but the adapter is for " + delta.shape());
    }
    return Optional.empty();
  }

  private void refuse() {
    if (mismatches.isEmpty()) {
      return;
    }
    String what = base.model().map(ModelVersion::name).map(name -> " does not fit the base " + Names.quote(name)).orElse(" cannot be applied without its base");
    throw new IncompatibleModelException("the adapter " + Names.quote(adapter) + what, mismatches);
  }
}
