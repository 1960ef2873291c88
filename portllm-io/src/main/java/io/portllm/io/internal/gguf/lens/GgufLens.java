package io.portllm.io.internal.gguf.lens;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.gguf.layout.Hyperparameters;
import io.portllm.io.internal.gguf.layout.Layout;
import io.portllm.io.internal.gguf.layout.Layouts;
import io.portllm.io.internal.gguf.layout.Mapping;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The way from a GGUF file to the Hugging Face checkpoint that it was converted from, and back. Immutable, and safe for use by many threads.
 */
public final class GgufLens {
  private static final Logger LOG = System.getLogger(GgufLens.class.getName());

  private final ModelVersion file;
  private final Hyperparameters hyperparameters;
  private final Map<String, Shape> shapes = new LinkedHashMap<>();

  /**
   * The lens of a file.
   *
   * @param file the tensors as GGUF stores them, from which values are read
   */
  public GgufLens(ModelVersion file, Hyperparameters hyperparameters) {
    this.file = file;
    this.hyperparameters = hyperparameters;
    file.tensors().forEach(tensor -> shapes.put(tensor.name(), tensor.shape()));
  }

  /** This lens on another file with the same metadata. */
  GgufLens of(ModelVersion other) {
    return new GgufLens(other, hyperparameters);
  }

  /** The file as patches see it, with the names that causal language models of its architecture have. */
  public ModelVersion decoded() {
    return new HuggingFaceView(file, new Views(file, mapping(Set.of())).sources());
  }

  /**
   * Compares the file with the Hugging Face checkpoint that it was converted from, weight by weight.
   *
   * @throws IncompatibleModelException if it is not known how its architecture is converted, or naming the first tensor whose values are further
   *     from the checkpoint's than its type explains
   */
  public void prove(ModelVersion checkpoint, WriteOptions options) throws IOException {
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    checkpoint.tensors().forEach(tensor -> tensors.put(tensor.name(), tensor));
    Mapping mapping = mapping(tensors.keySet());
    if (mapping instanceof Mapping.Unmapped unmapped) {
      throw new IncompatibleModelException(
          Names.quote(file.name()) + " cannot be compared with " + Names.quote(checkpoint.name()),
          List.of(Mismatch.of("general.architecture", "the GGUF file " + unmapped.reason())));
    }
    Proof.require(new HuggingFaceView(file, new Views(file, mapping).sources(tensors)), checkpoint, options);
  }

  private Mapping mapping(Collection<String> known) {
    return Layouts.of(hyperparameters, shapes, known);
  }

  /**
   * The file with {@code patch} on it. Reads the tensors that the file has in F32 and the patch's base in a smaller type.
   *
   * @throws IncompatibleModelException if the patch does not fit, or changes tensors of a type that cannot be written
   */
  public ModelVersion patched(Patch patch, MergeOptions options) {
    if (patch.isExact()) {
      return PatchedModel.of(patch, file, options);
    }
    Map<String, TensorInfo> base = new HashMap<>();
    patch.base().ifPresent(known -> known.tensors().forEach(tensor -> base.put(tensor.name(), tensor)));
    Set<String> known = new TreeSet<>(patch.deltas().keySet());
    known.addAll(base.keySet());
    Mapping mapping = mapping(known);
    requireMapped(patch, mapping);
    try {
      HuggingFaceView view = new HuggingFaceView(file, new Views(file, mapping).sources(base), spellsTokensOtherwise(patch.tokens()));
      PatchedModel patched = PatchedModel.of(mapping instanceof Layout layout ? without(patch, layout) : patch, view, options);
      return new GgufStoredModel(this, file, view, patched, options, targets(patch, mapping, view, patched, options));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Whether the file has as many tokens, none of which is spelled as in the patch. Some conversions spell tokens in a way of their own, but all
   * keep the order of rows.
   */
  private boolean spellsTokensOtherwise(TokenRows tokens) throws IOException {
    if (!tokens.areKnown()) {
      return false;
    }
    Vocabulary stored = file.vocabulary();
    boolean otherwise =
        stored.end() == tokens.tokens().end() && stored.rows().noneMatch(row -> tokens.tokens().row(stored.token(row).orElseThrow()).isPresent());
    if (otherwise) {
      LOG.log(
          Level.WARNING,
          "[{0}] spells each of its {1} tokens otherwise than the model that the patch was made on: rows are matched by number",
          file.name(),
          stored.size());
    }
    return otherwise;
  }

  /** Without a mapping, a patch must have the names that GGUF has. */
  private void requireMapped(Patch patch, Mapping mapping) {
    if (mapping instanceof Mapping.Unmapped unmapped && patch.deltas().keySet().stream().noneMatch(shapes::containsKey)) {
      patch.deltas().keySet().stream().findFirst().ifPresent(
          name -> {
            throw refusal(patch, List.of(Mismatch.of(name, "is changed by the patch, but the GGUF file " + unmapped.reason())));
          });
    }
  }

  /** The patch without what the conversion leaves out. */
  private static Patch without(Patch patch, Layout layout) {
    Map<String, Delta> deltas = new TreeMap<>(patch.deltas());
    deltas.keySet().removeIf(layout::ignores);
    Optional<PatchBase> base =
        patch.base().map(
            known ->
                new PatchBase(
                    known.name(),
                    known.fingerprint(),
                    known.tying(),
                    known.tensors().stream().filter(tensor -> !layout.ignores(tensor.name())).toList(),
                    known.digests(),
                    known.model()));
    return Patch.of(deltas, base, patch.recipe()).withTokens(patch.tokens());
  }

  private Map<String, GgufStoredModel.Target> targets(
      Patch patch, Mapping mapping, HuggingFaceView view, PatchedModel patched, MergeOptions options) {
    List<Mismatch> mismatches = new ArrayList<>();
    Map<String, GgufStoredModel.Target> targets = new LinkedHashMap<>();
    for (TensorInfo tensor : patched.tensors()) {
      if (view.find(tensor.name()).isEmpty()) {
        mismatches.add(Mismatch.of(tensor.name(), "is added by the patch, but no tensor of the GGUF file holds it"));
      }
    }
    new Views(file, mapping).byTensor().forEach(
        (tensor, stretches) -> {
          boolean changed = stretches.stream().anyMatch(stretch -> patched.changes(stretch.source()));
          Optional<TensorInfo> written = changed ? Written.as(tensor, options.raisedType(), mismatches) : Optional.of(tensor);
          targets.put(tensor.name(), new GgufStoredModel.Target(written.orElse(tensor), tensor, changed ? stretches : List.of()));
        });
    if (!mismatches.isEmpty()) {
      throw refusal(patch, mismatches);
    }
    return targets;
  }

  private IncompatibleModelException refusal(Patch patch, List<Mismatch> mismatches) {
    return new IncompatibleModelException(
        "the patch " + Names.quote(patch.recipe()) + " does not fit " + Names.quote(file.name()), mismatches);
  }
}
