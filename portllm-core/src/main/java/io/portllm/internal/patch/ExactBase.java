package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.BitChange;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The demand that a model is the very one that an exact patch was made on: each tensor's digest is compared once, before its first byte
 * is used. Safe for use by many threads.
 */
public final class ExactBase {
  static final String ALREADY =
      ", which is what the patch makes of it: the patch was applied already, or its inverse is the one that fits";

  private final Patch patch;
  private final ModelVersion model;
  private final Map<String, Check> checks = new ConcurrentHashMap<>();

  ExactBase(Patch patch, ModelVersion model) {
    this.patch = patch;
    this.model = model;
  }

  /** A clause that says which operation was refused. */
  static String refusal(Patch patch, ModelVersion model) {
    return "the exact patch " + Names.quote(patch.recipe()) + " fits only the model that it was made on, not " + Names.quote(model.name())
        + " (a patch that is not exact can be ported)";
  }

  /** An exception for a mismatch that {@link #compare} found. */
  public IncompatibleModelException refusal(Mismatch mismatch) {
    return new IncompatibleModelException(refusal(patch, model), List.of(mismatch));
  }

  /** The tensors to compare: those of the model in their order, then those that the patch adds. */
  public List<TensorInfo> tensors() {
    ImmutableList.Builder<TensorInfo> tensors = ImmutableList.builder();
    tensors.addAll(model.tensors());
    patch.deltas().forEach(
        (name, delta) -> ((Delta.Exact) delta).change().after().filter(made -> model.find(name).isEmpty()).ifPresent(tensors::add));
    return tensors.build();
  }

  /**
   * Compares the tensor of this name, unless that was done before, and checks what the patch holds for it.
   *
   * @return how the tensor differs from the one expected, if it does
   * @throws IOException if reading failed, or the patch is damaged
   */
  public Optional<Mismatch> compare(String tensor) throws IOException {
    return checks.computeIfAbsent(tensor, Check::new).run();
  }

  /**
   * Compares the tensor of this name, unless that was done before.
   *
   * @throws IncompatibleModelException if it differs from the one expected
   */
  void require(String tensor) throws IOException {
    Optional<Mismatch> mismatch = compare(tensor);
    if (mismatch.isPresent()) {
      throw refusal(mismatch.get());
    }
  }

  /** The comparison of one tensor; other threads that need it wait. */
  private final class Check {
    private final String name;
    private Optional<Mismatch> outcome;

    Check(String name) {
      this.name = name;
    }

    synchronized Optional<Mismatch> run() throws IOException {
      if (outcome == null) {
        outcome = difference();
      }
      return outcome;
    }

    private Optional<Mismatch> difference() throws IOException {
      Optional<Tensor> found = model.tensor(name);
      if (!(patch.deltas().get(name) instanceof Delta.Exact delta)) {
        return found.isEmpty() ? Optional.empty() : differenceOfUnchanged(found.get());
      }
      BitChange change = delta.change();
      change.verify();
      if (found.isEmpty() || change instanceof TwoTensors two && two.old().equals(found)) {
        return Optional.empty();
      }
      String digest = Fingerprint.digest(model, found.get().info());
      if (digest.equals(change.digestBefore())) {
        return Optional.empty();
      }
      boolean already = change.after().equals(change.before()) && digest.equals(change.digestAfter());
      return Optional.of(mismatch(digest, change.digestBefore(), already ? ALREADY : ""));
    }

    private Optional<Mismatch> differenceOfUnchanged(Tensor found) throws IOException {
      Optional<PatchBase> base = patch.base();
      Optional<ModelVersion> origin = base.flatMap(PatchBase::model);
      String expected = base.map(known -> known.digests().get(name)).orElse(null);
      if (expected == null && origin.isPresent() && origin.get() != model && origin.get().find(name).isPresent()) {
        expected = Fingerprint.digest(origin.get(), origin.get().find(name).get());
      }
      if (expected == null) {
        return Optional.empty();
      }
      String digest = Fingerprint.digest(model, found.info());
      return digest.equals(expected) ? Optional.empty() : Optional.of(mismatch(digest, expected, ""));
    }

    private Mismatch mismatch(String found, String expected, String hint) {
      return Mismatch.of(
          name, "has the digest " + start(found) + " but the model that the patch was made on has " + start(expected) + hint);
    }

    private static String start(String digest) {
      return digest.substring(0, 12) + "...";
    }
  }
}
