package io.portllm.portability;

import java.util.OptionalDouble;

/**
 * What a port must reach. Immutable.
 *
 * @param leastRecovery the least recovery, if one is wanted
 * @param leastScore the least mean score of the ported model, from 0 to 1, if one is wanted
 * @param mostNegativeFlips the largest part of the items, or of those to retain, that may turn from right to wrong, if one is wanted
 * @param leastRetained the least mean score of the ported model on the items to retain, if one is wanted
 */
public record TrialLimits(
    OptionalDouble leastRecovery, OptionalDouble leastScore, OptionalDouble mostNegativeFlips, OptionalDouble leastRetained) {
  private static final TrialLimits NONE =
      new TrialLimits(OptionalDouble.empty(), OptionalDouble.empty(), OptionalDouble.empty(), OptionalDouble.empty());

  /** No limits. */
  public static TrialLimits none() {
    return NONE;
  }

  /** These limits with a least recovery. */
  public TrialLimits recovery(double least) {
    return new TrialLimits(OptionalDouble.of(least), leastScore, mostNegativeFlips, leastRetained);
  }

  /** These limits with a least score. */
  public TrialLimits score(double least) {
    return new TrialLimits(leastRecovery, OptionalDouble.of(least), mostNegativeFlips, leastRetained);
  }

  /** These limits with a largest part of negative flips. */
  public TrialLimits negativeFlips(double most) {
    return new TrialLimits(leastRecovery, leastScore, OptionalDouble.of(most), leastRetained);
  }

  /** These limits with a least score on the items to retain. */
  public TrialLimits retained(double least) {
    return new TrialLimits(leastRecovery, leastScore, mostNegativeFlips, OptionalDouble.of(least));
  }
}
