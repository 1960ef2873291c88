package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Checks by headers that an exact patch fits a model, and says what the tensors of the output are. Names mean nothing here: embeddings,
 * heads and scales are tensors like others, and no mismatch can be allowed.
 */
final class ExactFitting {
  private final Patch patch;
  private final ModelVersion model;
  private final Map<String, Delta> changes = new HashMap<>();
  private final List<Mismatch> mismatches = new ArrayList<>();

  private ExactFitting(Patch patch, ModelVersion model) {
    this.patch = patch;
    this.model = model;
  }

  static Fitting.Plan plan(Patch patch, ModelVersion model) {
    ExactFitting fitting = new ExactFitting(patch, model);
    patch.deltas().forEach((name, delta) -> fitting.fit(name, (Delta.Exact) delta));
    patch.base().ifPresent(fitting::compareRest);
    if (!fitting.mismatches.isEmpty()) {
      throw new IncompatibleModelException(ExactBase.refusal(patch, model), fitting.mismatches);
    }
    return new Fitting.Plan(model, ImmutableMap.copyOf(fitting.changes), Map.of(), fitting.shards());
  }

  private void fit(String name, Delta.Exact delta) {
    Optional<TensorInfo> found = model.find(name);
    Optional<TensorInfo> expected = delta.change().before();
    if (found.equals(expected)) {
      changes.put(name, delta);
      return;
    }
    String hint = found.equals(delta.change().after()) ? ExactBase.ALREADY : "";
    mismatches.add(Mismatch.of(name, difference(found, expected) + hint));
  }

  /** Compares the tensors that stay as they are. */
  private void compareRest(PatchBase base) {
    Map<String, TensorInfo> expected = new HashMap<>();
    base.tensors().forEach(tensor -> expected.put(tensor.name(), tensor));
    for (TensorInfo found : model.tensors()) {
      compareRest(found.name(), Optional.of(found), Optional.ofNullable(expected.remove(found.name())));
    }
    for (TensorInfo missing : base.tensors()) {
      if (expected.containsKey(missing.name())) {
        compareRest(missing.name(), Optional.empty(), Optional.of(missing));
      }
    }
  }

  private void compareRest(String name, Optional<TensorInfo> found, Optional<TensorInfo> expected) {
    if (!patch.deltas().containsKey(name) && !found.equals(expected)) {
      mismatches.add(Mismatch.of(name, difference(found, expected)));
    }
  }

  private static String difference(Optional<TensorInfo> found, Optional<TensorInfo> expected) {
    return "is " + shown(expected) + " in the model that the patch was made on and " + shown(found) + " here";
  }

  private static String shown(Optional<TensorInfo> tensor) {
    return tensor.map(info -> info.dtype() + " " + info.shape()).orElse("missing");
  }

  /** The model's files with changed tensors in their places, removed ones left out, and added ones at the end of the last file. */
  private List<Shard> shards() {
    List<TensorInfo> added =
        patch.deltas().values().stream()
            .map(delta -> ((Delta.Exact) delta).change())
            .filter(change -> change.before().isEmpty())
            .map(change -> change.after().orElseThrow())
            .toList();
    ImmutableList.Builder<Shard> shards = ImmutableList.builder();
    int last = model.shards().size() - 1;
    for (int i = 0; i <= last; i++) {
      Shard shard = model.shards().get(i);
      ImmutableList.Builder<TensorInfo> tensors = ImmutableList.builder();
      for (TensorInfo tensor : shard.tensors()) {
        Delta.Exact delta = (Delta.Exact) patch.deltas().get(tensor.name());
        (delta == null ? Optional.of(tensor) : delta.change().after()).ifPresent(tensors::add);
      }
      if (i == last) {
        tensors.addAll(added);
      }
      shards.add(new Shard(shard.fileName(), shard.metadata(), tensors.build()));
    }
    return shards.build();
  }
}
