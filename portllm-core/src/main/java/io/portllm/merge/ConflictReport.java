package io.portllm.merge;

import com.google.common.collect.ImmutableList;
import io.portllm.Patch;
import io.portllm.internal.merge.Conflicts;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * How much patches contradict each other, tensor by tensor.
 *
 * @param tensors the tensors that a patch adds to, by name
 * @param total all of them together, called {@code total}
 */
public record ConflictReport(List<Conflict> tensors, Conflict total) {
  public ConflictReport {
    tensors = ImmutableList.copyOf(tensors);
  }

  /**
   * Compares patches. Reads everything they are made of once, in blocks; of low-rank changes also the factors of one tensor at a time,
   * whole and in float64. Sums are taken in float64 in a fixed order.
   *
   * @param patches at least two
   * @throws IllegalArgumentException if there are fewer, or a tensor has different shapes in two patches
   * @throws IllegalStateException if a change replaces weights, or depends on those of the new base
   * @throws io.portllm.IncompatibleModelException if a change is infinite or NaN
   * @throws IOException if reading failed
   */
  public static ConflictReport of(List<Patch> patches) throws IOException {
    if (patches.size() < 2) {
      throw new IllegalArgumentException("there must be at least two patches but there were " + patches.size());
    }
    return Conflicts.between(List.copyOf(patches));
  }

  /**
   * The conflicts in one tensor. An element is shared if two patches or more change it, and disagreeing if two of those changes have
   * opposite signs.
   *
   * @param tensor its name
   * @param elements all its elements
   * @param shared how many are shared
   * @param disagreeing how many of those disagree
   * @param sharedMagnitude Σ |δ| over patches and shared elements
   * @param disagreeingMagnitude the same over disagreeing elements
   * @param energies Σ δ² for each patch
   * @param pairs every pair of patches
   */
  public record Conflict(
      String tensor,
      long elements,
      long shared,
      long disagreeing,
      double sharedMagnitude,
      double disagreeingMagnitude,
      List<Double> energies,
      List<Pair> pairs) {
    public Conflict {
      energies = ImmutableList.copyOf(energies);
      pairs = ImmutableList.copyOf(pairs);
    }

    /** The share of shared elements that disagree, 0 if none is shared. Unrelated patches have one half, for two of them. */
    public double signDisagreement() {
      return shared == 0 ? 0 : (double) disagreeing / shared;
    }

    /** The share of the magnitude of shared elements that lies in disagreeing ones, 0 if none is shared. */
    public double weightedSignDisagreement() {
      return sharedMagnitude == 0 ? 0 : disagreeingMagnitude / sharedMagnitude;
    }
  }

  /**
   * Two patches.
   *
   * @param first the place of one among the patches, from 0
   * @param second the place of the other
   * @param cosine the cosine of the angle between their changes; 0 if one is zero
   * @param overlap how their column spaces lie, if both changes are low-rank
   */
  public record Pair(int first, int second, double cosine, Optional<Overlap> overlap) {}

  /**
   * How the column spaces of two low-rank changes B·A lie: the outputs that each can reach.
   *
   * @param firstRank the dimensions of one
   * @param secondRank the dimensions of the other
   * @param cosines the cosines of the principal angles, greatest first, as many as the smaller space has dimensions; of a stack of
   *     matrices those of all its pairs together, and the dimensions are the sums
   */
  public record Overlap(int firstRank, int secondRank, List<Double> cosines) {
    public Overlap {
      cosines = ImmutableList.copyOf(cosines);
    }

    /** The mean squared cosine: 0 if the spaces are orthogonal, 1 if one contains the other. */
    public double share() {
      return cosines.stream().mapToDouble(cosine -> cosine * cosine).average().orElse(0);
    }
  }
}
