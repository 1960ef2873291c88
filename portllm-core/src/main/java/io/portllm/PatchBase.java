package io.portllm;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.text.Names;
import io.portllm.portability.BaseSketch;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * What a patch remembers of the model it was made on.
 *
 * @param name what that model was called, usually a folder name; free text
 * @param fingerprint its {@link Fingerprint}, if it was computed
 * @param tying whether its embeddings were tied, and those of the fine-tuned model too
 * @param tensors all its tensors
 * @param digests the digest of each of its tensors, if they were computed
 * @param model the model itself, if it is at hand: its fingerprint and its sketch are computed when the patch is saved
 * @param sketch what a new base can be judged by without the model, if a patch file has it
 */
public record PatchBase(
    String name,
    Optional<String> fingerprint,
    Tying tying,
    List<TensorInfo> tensors,
    Map<String, String> digests,
    Optional<ModelVersion> model,
    Optional<BaseSketch> sketch) {
  public PatchBase {
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(fingerprint, "fingerprint");
    Objects.requireNonNull(tying, "tying");
    tensors = ImmutableList.copyOf(tensors);
    digests = ImmutableSortedMap.copyOf(digests);
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(sketch, "sketch");
  }

  /** A base without a sketch. */
  public PatchBase(
      String name,
      Optional<String> fingerprint,
      Tying tying,
      List<TensorInfo> tensors,
      Map<String, String> digests,
      Optional<ModelVersion> model) {
    this(name, fingerprint, tying, tensors, digests, model, Optional.empty());
  }

  /** What the headers of {@code base} say; no fingerprint. */
  public static PatchBase of(ModelVersion base) {
    return new PatchBase(Names.last(base.name()), Optional.empty(), Embeddings.tying(base), base.tensors(), Map.of(), Optional.of(base));
  }

  /**
   * Whether {@code other} describes the same model, in whatever order its tensors are and whether or not either has its fingerprint or
   * has the model at hand.
   */
  public boolean describesSameModelAs(PatchBase other) {
    return name.equals(other.name)
        && tying == other.tying
        && Set.copyOf(tensors).equals(Set.copyOf(other.tensors))
        && (fingerprint.isEmpty() || other.fingerprint.isEmpty() || fingerprint.equals(other.fingerprint));
  }

  /** This record with the fingerprint of the same model. */
  public PatchBase with(Fingerprint print) {
    return new PatchBase(name, Optional.of(print.digest()), tying, tensors, print.tensors(), model, sketch);
  }
}
