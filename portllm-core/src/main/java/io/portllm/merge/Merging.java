package io.portllm.merge;

import io.portllm.Patch;
import io.portllm.internal.merge.Composition;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * Makes one patch of several.
 *
 * <p>{@snippet :
 * Patch both = Merging.merge(List.of(clinic, legal), List.of(0.6, 0.4), new MergeMethod.Ties(0.2));
 * Checkpoints.write(both.applyTo(newBase), Path.of("clinic-and-legal"));
 * }
 *
 * <p>Nothing is computed until the merged patch is applied or saved; then a few rows at a time, so memory does not depend on the size of
 * the model. Methods that need a line, an angle or an energy of a whole tensor go through its changes before they compute the first of
 * its rows, once, and keep a few numbers. The matrices of a stack, such as fused experts (a parameter of three and more dimensions that is
 * not called weight or whose name speaks of experts), are merged each for itself, as they would be if they were stored apart. The bytes
 * that come out depend neither on threads nor on how the work is cut up.
 */
public final class Merging {
  private Merging() {}

  /** Merges patches with a weight of 1 each. */
  public static Patch merge(List<Patch> patches, MergeMethod method) {
    return merge(patches, Collections.nCopies(patches.size(), 1.0), method);
  }

  /**
   * Merges patches. Reads headers only.
   *
   * <p>Sums and means keep the kinds of changes that they are made of. The other methods compute new dense ones: changes are taken in
   * float32 as a merger takes them, combined in float64 in the order of the patches, and rounded once to float32. They refuse, when the
   * merged patch is used, changes that are infinite or NaN ({@link io.portllm.IncompatibleModelException}).
   *
   * @param patches at least one, two for {@link MergeMethod.Slerp}, at least two for {@link MergeMethod.ModelStock}
   * @param weights a finite number for each patch. {@link MergeMethod.Linear} needs a positive sum, {@link MergeMethod.Slerp} no negative
   *     weight as well; {@link MergeMethod.Sce} and {@link MergeMethod.ModelStock} find their own and take none but 1
   * @return a patch usable as long as all that {@code patches} were made from is open; its recipe names the method, the weights and the
   *     recipes of {@code patches}. It knows its base if all of them know the same one
   * @throws IllegalArgumentException if the arguments break these rules, or a tensor has different shapes in two patches
   * @throws IllegalStateException if a patch replaces a tensor that another changes or that is not just summed, or its change depends on
   *     the weights of the new base and is not just summed
   */
  public static Patch merge(List<Patch> patches, List<Double> weights, MergeMethod method) {
    Objects.requireNonNull(method, "method");
    if (patches.isEmpty()) {
      throw new IllegalArgumentException("there must be at least one patch");
    }
    if (weights.size() != patches.size()) {
      throw new IllegalArgumentException(
          "there must be a weight for each of the " + patches.size() + " patches but there were " + weights.size());
    }
    for (double weight : weights) {
      if (!Double.isFinite(weight)) {
        throw new IllegalArgumentException("weights must be finite but were " + weights);
      }
    }
    check(patches.size(), weights, method);
    return Composition.of(List.copyOf(patches), weights, method);
  }

  private static void check(int patches, List<Double> weights, MergeMethod method) {
    boolean isMean = method instanceof MergeMethod.Linear || method instanceof MergeMethod.Slerp;
    if (isMean && !(weights.stream().mapToDouble(Double::doubleValue).sum() > 0)) {
      throw new IllegalArgumentException("weights must have a positive sum for " + method + " but were " + weights);
    }
    if (method instanceof MergeMethod.Slerp) {
      if (patches != 2) {
        throw new IllegalArgumentException("there must be two patches for " + method + " but there were " + patches);
      }
      if (weights.get(0) < 0 || weights.get(1) < 0) {
        throw new IllegalArgumentException("weights must not be negative for " + method + " but were " + weights);
      }
    }
    if (method instanceof MergeMethod.ModelStock && patches < 2) {
      throw new IllegalArgumentException("there must be at least two patches for " + method + " but there was 1");
    }
    boolean ownWeights = method instanceof MergeMethod.Sce || method instanceof MergeMethod.ModelStock;
    if (ownWeights && weights.stream().anyMatch(weight -> weight != 1)) {
      throw new IllegalArgumentException("weights must be 1 for " + method + ", which finds its own, but were " + weights);
    }
  }
}
