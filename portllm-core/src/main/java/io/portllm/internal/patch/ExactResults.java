package io.portllm.internal.patch;

import io.portllm.BitChange;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** What an exact patch remembers of the model that it makes, as its inverse needs it. */
public final class ExactResults {
  private ExactResults() {}

  /** The record of what {@code patch} makes of the model that {@code base} describes. */
  public static PatchBase of(Patch patch, PatchBase base) {
    Optional<ModelVersion> model = base.model();
    if (model.isPresent()) {
      return PatchBase.of(patch.applyTo(model.get()));
    }
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    base.tensors().forEach(tensor -> tensors.put(tensor.name(), tensor));
    Map<String, String> digests = new TreeMap<>(base.digests());
    patch.deltas().forEach(
        (name, delta) -> {
          BitChange change = ((Delta.Exact) delta).change();
          tensors.remove(name);
          digests.remove(name);
          change.after().ifPresent(
              made -> {
                tensors.put(name, made);
                digests.put(name, digestAfter(change));
              });
        });
    Optional<String> fingerprint =
        digests.keySet().equals(tensors.keySet()) ? Optional.of(Fingerprint.of(digests).digest()) : Optional.empty();
    return new PatchBase(base.name(), fingerprint, base.tying(), List.copyOf(tensors.values()), digests, Optional.empty());
  }

  private static String digestAfter(BitChange change) {
    try {
      return change.digestAfter();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
