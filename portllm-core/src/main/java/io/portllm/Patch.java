package io.portllm;

import com.google.common.collect.ImmutableSortedMap;
import io.portllm.internal.patch.Differences;
import io.portllm.internal.patch.ExactResults;
import io.portllm.internal.patch.Glob;
import io.portllm.internal.patch.PatchTokens;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.text.Names;
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityReport;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;

/**
 * What fine-tuning changed in a model: a change for each tensor that it touched (Δθᵢ in PortLLM, arXiv 2410.10870).
 *
 * <p>{@snippet :
 * try (ModelVersion base = Checkpoints.open(Path.of("llama-3-8b"));
 *     ModelVersion fineTuned = Checkpoints.open(Path.of("my-clinic-8b"));
 *     ModelVersion newBase = Checkpoints.open(Path.of("llama-3.1-8b"))) {
 *   Patch patch = Patch.from(fineTuned, base);
 *   Checkpoints.write(patch.applyTo(newBase), Path.of("my-clinic-8b-on-3.1"));
 * }
 * }
 *
 * <p>Patches are immutable values, safe for use by many threads. They hold no weights: the models or files they were made from must
 * stay open until the patch was written or its result was.
 */
public final class Patch {
  private final ImmutableSortedMap<String, Delta> deltas;
  private final Optional<PatchBase> base;
  private final String recipe;
  private final TokenRows tokens;

  private Patch(Map<String, Delta> deltas, Optional<PatchBase> base, String recipe, TokenRows tokens) {
    this.deltas = ImmutableSortedMap.copyOf(deltas);
    long exact = deltas.values().stream().filter(Delta.Exact.class::isInstance).count();
    if (exact != 0 && exact != deltas.size()) {
      throw new IllegalArgumentException(
          "a patch must change all its tensors exactly or none, but " + exact + " of " + deltas.size() + " are changed exactly");
    }
    this.base = base;
    this.recipe = Objects.requireNonNull(recipe, "recipe");
    this.tokens = Objects.requireNonNull(tokens, "tokens");
  }

  /**
   * What {@code fineTuned} changed in {@code base}: θᵢ − θ. Reads headers and vocabularies only.
   *
   * @throws java.io.UncheckedIOException if a vocabulary could not be read
   * @throws IncompatibleModelException if the two do not fit, with every mismatch
   */
  public static Patch from(FineTuned fineTuned, ModelVersion base) {
    return from(fineTuned, base, MergeOptions.defaults());
  }

  /**
   * What {@code fineTuned} changed in {@code base}, with some mismatches allowed.
   *
   * @throws java.io.UncheckedIOException if a vocabulary could not be read
   * @throws IncompatibleModelException if the two do not fit, with every mismatch
   */
  public static Patch from(FineTuned fineTuned, ModelVersion base, MergeOptions options) {
    return fineTuned.changesFrom(base, options);
  }

  /**
   * Every bit that {@code fineTuned} changed in {@code base}: applied to {@code base} it gives the tensors of {@code fineTuned}, and its
   * {@link #inverse} applied to those gives back the tensors of {@code base}, NaN payloads and signed zeros included. Reads headers only.
   *
   * <p>It fits {@code base} alone: any other model is refused, by the digests of all tensors, before anything is written. To port a
   * fine-tune to another base, use {@link #from(FineTuned, ModelVersion)}.
   *
   * <p>Tensors of any type take part, and those that only one of the two has, or that differ in type or shape, are stored whole. Names,
   * order and files of the tensors in common, free metadata and side files stay those of the model that the patch is applied to; added
   * tensors follow the others in its last file.
   *
   * @param fineTuned the fine-tuned model; an adapter is added to {@code base} first, as a port onto its own base
   * @throws IncompatibleModelException if {@code fineTuned} is an adapter that does not fit {@code base}
   */
  public static Patch exact(FineTuned fineTuned, ModelVersion base) {
    return exact(fineTuned, base, MergeOptions.defaults());
  }

  /**
   * Every bit that {@code fineTuned} changed in {@code base}.
   *
   * @param fineTuned the fine-tuned model, or an adapter, which {@code options} concern
   * @throws IncompatibleModelException if {@code fineTuned} is an adapter that does not fit {@code base}
   */
  public static Patch exact(FineTuned fineTuned, ModelVersion base, MergeOptions options) {
    ModelVersion tuned = fineTuned instanceof ModelVersion model ? model : fineTuned.changesFrom(base, options).applyTo(base, options);
    return Differences.exact(tuned, base, Names.last(fineTuned.name()) + " - " + Names.last(base.name()));
  }

  /**
   * A patch of these changes.
   *
   * @param deltas a change for each tensor name
   * @param base the model it was made on, if known
   * @param recipe how it was made; free text
   * @throws IllegalArgumentException if some changes are exact and some are not
   */
  public static Patch of(Map<String, Delta> deltas, Optional<PatchBase> base, String recipe) {
    return new Patch(deltas, base, recipe, TokenRows.unknown());
  }

  /** This patch, with what the rows of its embedding and head changes stand for. */
  public Patch withTokens(TokenRows rows) {
    return new Patch(deltas, base, recipe, rows);
  }

  /** The changes by tensor name, sorted. */
  public Map<String, Delta> deltas() {
    return deltas;
  }

  /** The model that the patch was made on, if known. */
  public Optional<PatchBase> base() {
    return base;
  }

  /** How the patch was made, such as {@code (my-clinic-8b - llama-3-8b) * 0.5}; free text. */
  public String recipe() {
    return recipe;
  }

  /** What the rows of its embedding and head changes stand for, where that is known; not of exact patches. */
  public TokenRows tokens() {
    return tokens;
  }

  /** Whether the patch changes bits, and so fits only the model that it was made on; a patch without changes fits any. */
  public boolean isExact() {
    return deltas.values().stream().anyMatch(Delta.Exact.class::isInstance);
  }

  /**
   * The exact patch that takes this one back: applied to the model that this one makes, it gives the model that this one was made on.
   *
   * @throws IllegalStateException if the patch is not exact: its sums were rounded, and what rounding lost cannot be had back
   */
  public Patch inverse() {
    if (!isExact() && !deltas.isEmpty()) {
      throw new IllegalStateException("the patch " + Names.quote(recipe) + " is not exact, and only exact patches can be taken back");
    }
    Map<String, Delta> inverted = new TreeMap<>();
    deltas.forEach((name, delta) -> inverted.put(name, new Delta.Exact(((Delta.Exact) delta).change().inverse())));
    return new Patch(inverted, base.map(known -> ExactResults.of(this, known)), "undo (" + recipe + ")", TokenRows.unknown());
  }

  /**
   * This patch with every change multiplied by {@code scale}, the rows of added tokens too.
   *
   * @param scale any finite number
   * @throws IllegalStateException if the patch is exact or replaces weights, which cannot be scaled
   */
  public Patch scaledBy(double scale) {
    if (!Double.isFinite(scale)) {
      throw new IllegalArgumentException("scale must be finite but was " + scale);
    }
    if (scale == 1) {
      return this;
    }
    Map<String, Delta> scaled = new TreeMap<>();
    deltas.forEach((name, delta) -> scaled.put(name, Terms.scale(name, delta, scale)));
    return new Patch(scaled, base, "(" + recipe + ") * " + scale, tokens);
  }

  /** This patch with every change of the opposite sign. */
  public Patch negate() {
    return scaledBy(-1);
  }

  /**
   * The sum of two patches: on tensors that both change, this patch's change and then {@code other}'s. It remembers a base if both
   * were made on the same.
   *
   * @throws IllegalStateException if both change a tensor and one replaces it, or if one of the patches is exact
   * @throws IllegalArgumentException if both change a tensor and its shapes differ, or both change embeddings or heads and the tokens that
   *     their rows stand for are known and differ
   */
  public Patch plus(Patch other) {
    if (isExact() || other.isExact()) {
      throw new IllegalStateException(
          "an exact patch cannot be added to another: apply one to what the other makes, or extract patches that are not exact");
    }
    Map<String, Delta> sum = new TreeMap<>(deltas);
    other.deltas.forEach((name, delta) -> sum.merge(name, delta, (mine, theirs) -> Terms.add(name, mine, theirs)));
    return new Patch(sum, commonBase(other), recipe + " + " + other.recipe, PatchTokens.common(List.of(this, other)));
  }

  /**
   * The part of this patch that changes tensors whose name matches one of {@code globs}.
   *
   * @param globs patterns in which {@code *} stands for any characters and {@code ?} for one
   * @throws IllegalArgumentException if a pattern matches no tensor of the patch
   */
  public Patch only(String... globs) {
    return filter(Glob.anyOf(List.of(globs), deltas.keySet()), " only " + String.join(" ", globs));
  }

  /**
   * The part of this patch that changes tensors whose name matches none of {@code globs}.
   *
   * @param globs patterns in which {@code *} stands for any characters and {@code ?} for one
   * @throws IllegalArgumentException if a pattern matches no tensor of the patch
   */
  public Patch except(String... globs) {
    return filter(Glob.anyOf(List.of(globs), deltas.keySet()).negate(), " except " + String.join(" ", globs));
  }

  /**
   * {@code newBase} with this patch added: θ′ + Δθᵢ (PortLLM, equation 6). Reads headers and the vocabulary only; values are computed as
   * they are read. Rows of embedding and head are matched by the tokens that they stand for, where both {@link #tokens} and the new
   * base's are known, and by index where not.
   *
   * @return a version with the names, types, shards and side files of {@code newBase}, usable as long as {@code newBase} and
   *     what the patch was made from are open. Closing it closes none of them
   * @throws java.io.UncheckedIOException if the vocabulary could not be read
   * @throws IncompatibleModelException if the patch does not fit, with every mismatch
   */
  public ModelVersion applyTo(ModelVersion newBase) {
    return applyTo(newBase, MergeOptions.defaults());
  }

  /**
   * {@code newBase} with this patch added, with some mismatches allowed.
   *
   * @throws IncompatibleModelException if the patch does not fit, with every mismatch
   */
  public ModelVersion applyTo(ModelVersion newBase, MergeOptions options) {
    return newBase.patched(this, options);
  }

  /**
   * Whether this patch will work on {@code newBase}, judged without data. Reads {@code newBase} and the patch once, and the model that the
   * patch was made on if it is at hand; else what a patch file remembers of it.
   *
   * @return the verdict, with the figures behind it; a patch that does not fit is a verdict too
   * @throws IOException if reading failed
   * @see PortabilityCheck for threads, progress and merge options
   */
  public PortabilityReport checkAgainst(ModelVersion newBase) throws IOException {
    return PortabilityCheck.defaults().check(this, newBase);
  }

  /**
   * Whether this patch, made on {@code oldBase}, will work on {@code newBase}, judged without data.
   *
   * @throws IOException if reading failed
   */
  public PortabilityReport checkAgainst(ModelVersion newBase, ModelVersion oldBase) throws IOException {
    return PortabilityCheck.defaults().withOldBase(oldBase).check(this, newBase);
  }

  /**
   * How the tokens of {@code newBase} differ from those that the rows of this patch stand for: the removed ones have no row in
   * {@code newBase}, tokens that fine-tuning added among them, and the added ones no change in this patch.
   *
   * @return nothing where rows are matched by index: where the tokens of either are not known, or no embedding or head is changed
   * @throws java.io.UncheckedIOException if the vocabulary could not be read
   */
  public Optional<TokenReport> compareTokens(ModelVersion newBase) {
    if (!tokens.areKnown() || !PatchTokens.changesRows(this)) {
      return Optional.empty();
    }
    Vocabulary known = PatchTokens.of(newBase.decoded());
    return known.isEmpty() ? Optional.empty() : Optional.of(TokenReport.between(tokens.tokens(), known));
  }

  private Patch filter(Predicate<String> keep, String what) {
    Map<String, Delta> kept = new TreeMap<>();
    deltas.forEach((name, delta) -> {
      if (keep.test(name)) {
        kept.put(name, delta);
      }
    });
    return new Patch(kept, base, "(" + recipe + ")" + what, tokens);
  }

  private Optional<PatchBase> commonBase(Patch other) {
    return base.isPresent() && other.base.isPresent() && base.get().describesSameModelAs(other.base.get()) ? base : Optional.empty();
  }

  @Override
  public String toString() {
    return "Patch[" + recipe + ", " + deltas.size() + " tensors]";
  }
}
