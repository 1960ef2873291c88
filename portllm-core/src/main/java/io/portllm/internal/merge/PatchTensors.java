package io.portllm.internal.merge;

import com.google.common.collect.ImmutableSortedMap;
import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.text.Names;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;

/** What several patches do to each tensor. */
final class PatchTensors {
  private final List<Patch> patches;
  private final Optional<PatchBase> base;
  private final Map<String, Inputs> inputs = new TreeMap<>();
  private final Map<String, Delta> unchanged = new TreeMap<>();

  private PatchTensors(List<Patch> patches) {
    this.patches = patches;
    this.base = patches.stream().map(Patch::base).reduce(PatchTensors::common).orElseThrow();
  }

  /** The base that all {@code patches} were made on, if that is certain. */
  static Optional<PatchBase> base(List<Patch> patches) {
    return new PatchTensors(patches).base;
  }

  /**
   * Collects what each patch does to each tensor.
   *
   * @throws IllegalArgumentException if a tensor has different shapes
   * @throws IllegalStateException if a change has no values by itself
   */
  static PatchTensors of(List<Patch> patches) {
    PatchTensors tensors = new PatchTensors(patches);
    tensors.gather();
    return tensors;
  }

  /** The base that all patches were made on, if that is certain. */
  Optional<PatchBase> base() {
    return base;
  }

  /** The changes of each tensor that a patch adds to. */
  Map<String, Inputs> inputs() {
    return ImmutableSortedMap.copyOf(inputs);
  }

  /** The demands that tensors of other types stay the same. */
  Map<String, Delta> unchanged() {
    return ImmutableSortedMap.copyOf(unchanged);
  }

  /** The base that two patches were both made on, if that is certain. */
  private static Optional<PatchBase> common(Optional<PatchBase> one, Optional<PatchBase> other) {
    boolean samePrint = one.isPresent() && other.isPresent()
        && one.get().fingerprint().isPresent() && one.get().fingerprint().equals(other.get().fingerprint());
    return samePrint || one.equals(other) ? one : Optional.empty();
  }

  private void gather() {
    DeltaValues.Shared shared = new DeltaValues.Shared();
    TreeSet<String> names = new TreeSet<>();
    patches.forEach(patch -> names.addAll(patch.deltas().keySet()));
    for (String tensor : names) {
      List<Optional<DeltaValues>> changes = new ArrayList<>();
      Optional<Shape> shape = Optional.empty();
      for (Patch patch : patches) {
        Delta delta = patch.deltas().get(tensor);
        if (delta instanceof Delta.Unchanged) {
          unchanged.putIfAbsent(tensor, delta);
          changes.add(Optional.empty());
        } else if (delta == null) {
          changes.add(Optional.empty());
        } else {
          changes.add(Optional.of(new DeltaValues(tensor, delta, shared)));
          shape = Optional.of(shape.isEmpty() ? shape(tensor, delta) : common(tensor, shape.get(), shape(tensor, delta)));
        }
      }
      shape.ifPresent(known -> inputs.put(tensor, new Inputs(tensor, known, 0, changes)));
    }
  }

  /** The shape of the tensor: changes of single rows need not know how many rows there are, but the base does. */
  private Shape shape(String tensor, Delta delta) {
    List<Delta> terms = Terms.of(delta).stream().map(Delta.Term::delta).toList();
    Shape widest = terms.stream().map(Delta::shape).reduce((a, b) -> a.rows() >= b.rows() ? a : b).orElseThrow();
    if (!terms.stream().allMatch(Delta.Rows.class::isInstance)) {
      return widest;
    }
    return base.stream()
        .flatMap(model -> model.tensors().stream())
        .filter(info -> info.name().equals(tensor))
        .map(TensorInfo::shape)
        .findFirst()
        .orElse(widest);
  }

  private Shape common(String tensor, Shape one, Shape other) {
    boolean rowsOnly = patches.stream()
        .map(patch -> patch.deltas().get(tensor))
        .filter(delta -> delta != null && delta.isAdditive())
        .anyMatch(delta -> Terms.of(delta).stream().allMatch(term -> term.delta() instanceof Delta.Rows));
    if (!one.equals(other) && !(rowsOnly && one.columns() == other.columns())) {
      throw new IllegalArgumentException("tensor " + Names.quote(tensor) + " is " + one + " in one patch and " + other + " in another");
    }
    return one.rows() >= other.rows() ? one : other;
  }
}
