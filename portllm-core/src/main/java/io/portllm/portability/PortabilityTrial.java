package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.internal.portability.TrialReference;
import io.portllm.internal.portability.TrialRunner;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * Measures with the caller's data whether patches work on new bases. Immutable.
 *
 * <p>{@snippet :
 * PortabilityTrial.with(model -> askAll(model, prompts))
 *     .withOldBase(oldBase)
 *     .withRetain(model -> askAll(model, whatItMustStillKnow))
 *     .run(patch, newBase)
 *     .require(TrialLimits.none().recovery(0.9).negativeFlips(0.02));
 * }
 */
public final class PortabilityTrial {
  private final Scoring scoring;
  private final Optional<Scoring> retain;
  private final Optional<ModelVersion> oldBase;
  private final Optional<TrialReference> reference;
  private final Optional<ModelVersion> retuned;
  private final ImmutableList<Double> scales;
  private final int pathSteps;
  private final MergeOptions mergeOptions;
  private final long seed;

  private PortabilityTrial(
      Scoring scoring,
      Optional<Scoring> retain,
      Optional<ModelVersion> oldBase,
      Optional<TrialReference> reference,
      Optional<ModelVersion> retuned,
      ImmutableList<Double> scales,
      int pathSteps,
      MergeOptions mergeOptions,
      long seed) {
    this.scoring = Objects.requireNonNull(scoring, "scoring");
    this.retain = retain;
    this.oldBase = oldBase;
    this.reference = reference;
    this.retuned = retuned;
    this.scales = scales;
    this.pathSteps = pathSteps;
    this.mergeOptions = mergeOptions;
    this.seed = seed;
  }

  /** A trial of the new base with and without the patch. */
  public static PortabilityTrial with(Scoring scoring) {
    return new PortabilityTrial(
        scoring,
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        ImmutableList.of(),
        0,
        MergeOptions.defaults(),
        1);
  }

  /** This trial with the patch on the model that it was made on, too: what there is to recover. */
  public PortabilityTrial withOldBase(ModelVersion base) {
    return new PortabilityTrial(scoring, retain, Optional.of(base), reference, retuned, scales, pathSteps, mergeOptions, seed);
  }

  /** This trial with the fine-tuned model itself as what there is to recover, not the patch on the model that it was made on. */
  public PortabilityTrial withReference(ModelVersion fineTuned) {
    Objects.requireNonNull(fineTuned, "fineTuned");
    return withReference(items -> items.score(fineTuned));
  }

  /**
   * This trial with what the fine-tuned model scored, when it was at hand, as what there is to recover.
   *
   * @param scores as the scoring would give them: one for each item, in their order
   */
  public PortabilityTrial withReferenceScores(double... scores) {
    double[] kept = scores.clone();
    return withReference(items -> kept);
  }

  private PortabilityTrial withReference(TrialReference known) {
    return new PortabilityTrial(scoring, retain, oldBase, Optional.of(known), retuned, scales, pathSteps, mergeOptions, seed);
  }

  /** This trial with the new base tuned anew, too: what there is to recover, if that is more. */
  public PortabilityTrial withRetuned(ModelVersion model) {
    return new PortabilityTrial(scoring, retain, oldBase, reference, Optional.of(model), scales, pathSteps, mergeOptions, seed);
  }

  /** This trial with items that the new base knows and the ported model should still know. */
  public PortabilityTrial withRetain(Scoring items) {
    return new PortabilityTrial(scoring, Optional.of(items), oldBase, reference, retuned, scales, pathSteps, mergeOptions, seed);
  }

  /** This trial with the patch multiplied by each of these, too. */
  public PortabilityTrial withScales(double... factors) {
    List<Double> all = Arrays.stream(factors).boxed().toList();
    return new PortabilityTrial(scoring, retain, oldBase, reference, retuned, ImmutableList.copyOf(all), pathSteps, mergeOptions, seed);
  }

  /**
   * This trial with the patch on bases on the straight line from the old base to the new one, which tells whether there is a wall between.
   * Needs {@link #withOldBase}.
   *
   * @param steps into how many parts the line is cut, at least 1; the ends are scored too
   */
  public PortabilityTrial withPath(int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("steps must be at least 1 but were " + steps);
    }
    return new PortabilityTrial(scoring, retain, oldBase, reference, retuned, scales, steps, mergeOptions, seed);
  }

  /** This trial of patches that are applied with these options. */
  public PortabilityTrial withMergeOptions(MergeOptions options) {
    Objects.requireNonNull(options, "options");
    return new PortabilityTrial(scoring, retain, oldBase, reference, retuned, scales, pathSteps, options, seed);
  }

  /** This trial with another seed for the bootstrap; the same seed gives the same intervals. */
  public PortabilityTrial withSeed(long number) {
    return new PortabilityTrial(scoring, retain, oldBase, reference, retuned, scales, pathSteps, mergeOptions, number);
  }

  /**
   * Scores the models, one after the other on the calling thread; one model's items and its items to retain in turn, so that a scoring that
   * stores a model needs room for one. A scale of 1 is not scored again.
   *
   * @throws io.portllm.IncompatibleModelException if the patch does not fit
   * @throws IllegalArgumentException if the scoring gives no scores, scores outside 0 to 1, or not as many for each model
   * @throws IllegalStateException if a path is wanted and no old base was given, or scales of a patch that cannot be scaled
   * @throws IOException if reading or scoring failed
   */
  public TrialReport run(Patch patch, ModelVersion newBase) throws IOException {
    return new TrialRunner(scoring, retain, oldBase, reference, retuned, scales, pathSteps, mergeOptions, seed).run(patch, newBase);
  }
}
