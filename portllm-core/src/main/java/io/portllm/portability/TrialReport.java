package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import io.portllm.internal.portability.TrialText;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What a port is worth, measured on the caller's items.
 *
 * @param patch how the patch was made: its recipe
 * @param newBase what the new base is called
 * @param verdict PORT from a recovery of {@link #PORT_FROM}, DO_NOT_PORT below {@link #TUNE_FROM}, where something is known to recover;
 *     else PORT if the gain is certainly above zero, DO_NOT_PORT if it is certainly not, PORT_AND_TUNE if that is open
 * @param certain whether the whole interval of the recovery, or of the gain, is on the verdict's side
 * @param noPatch the new base alone
 * @param ported the new base with the patch
 * @param reference the fine-tuned model, or the old base with the patch, if either was given
 * @param retuned the new base tuned anew, if it was given
 * @param gain ported less no patch
 * @param gainInterval its interval, by bootstrap over items
 * @param recovery gain / (target − no patch), where the target is the better of reference and re-tuned; absent if there is neither, or it
 *     is no better than no patch
 * @param recoveryInterval its interval, by bootstrap over items, of those samples in which there is something to recover
 * @param flips on the items of the trial
 * @param retainNoPatch the new base alone on the items to retain, if there are any
 * @param retainPorted the new base with the patch on them
 * @param retainFlips on them
 * @param scales mean scores with the patch multiplied, by scale
 * @param path mean scores of the patch on bases between the old one and the new one, by how far
 */
public record TrialReport(
    String patch,
    String newBase,
    Verdict verdict,
    boolean certain,
    TrialArm noPatch,
    TrialArm ported,
    Optional<TrialArm> reference,
    Optional<TrialArm> retuned,
    double gain,
    Interval gainInterval,
    OptionalDouble recovery,
    Optional<Interval> recoveryInterval,
    TrialFlips flips,
    Optional<TrialArm> retainNoPatch,
    Optional<TrialArm> retainPorted,
    Optional<TrialFlips> retainFlips,
    List<TrialPoint> scales,
    List<TrialPoint> path) {
  /** From this recovery on, a port counts as one that works: four fifths of what tuning anew would give. */
  public static final double PORT_FROM = 0.8;

  /** Below this recovery, what was ported is not worth starting from: a fifth of what tuning anew would give. */
  public static final double TUNE_FROM = 0.2;

  public TrialReport {
    scales = ImmutableList.copyOf(scales);
    path = ImmutableList.copyOf(path);
  }

  /** The scale with the best score, 1 if none was better. */
  public double bestScale() {
    TrialPoint best = new TrialPoint(1, ported.score());
    for (TrialPoint point : scales) {
      best = point.score() > best.score() ? point : best;
    }
    return best.at();
  }

  /** What to do next, and what speaks against it, in a few sentences. */
  public String advice() {
    return TrialText.advice(this);
  }

  /**
   * Requires that the port keeps limits.
   *
   * @return this report
   * @throws TrialFailedException with every limit that is missed, or that cannot be told because what it needs was not measured
   */
  public TrialReport require(TrialLimits limits) {
    List<String> failures = missed(limits);
    if (!failures.isEmpty()) {
      throw new TrialFailedException("the port of " + patch + " to " + newBase, failures);
    }
    return this;
  }

  /** Every limit that the port misses, or of which that cannot be told because what it needs was not measured, in sentences. */
  public List<String> missed(TrialLimits limits) {
    List<String> failures = new ArrayList<>();
    limits.leastRecovery().ifPresent(least -> atLeast(failures, "recovery", recovery, least));
    limits.leastScore().ifPresent(least -> atLeast(failures, "score", OptionalDouble.of(ported.score()), least));
    OptionalDouble retained = retainPorted.stream().mapToDouble(TrialArm::score).findFirst();
    limits.leastRetained().ifPresent(least -> atLeast(failures, "score on the items to retain", retained, least));
    limits.mostNegativeFlips().ifPresent(most -> {
      atMost(failures, "items", flips, most);
      retainFlips.ifPresent(found -> atMost(failures, "items to retain", found, most));
    });
    return ImmutableList.copyOf(failures);
  }

  private static void atLeast(List<String> failures, String what, OptionalDouble found, double least) {
    if (found.isEmpty()) {
      failures.add(what + " must be at least " + least + " but was not measured");
    } else if (!(found.getAsDouble() >= least)) {
      failures.add(what + " must be at least " + least + " but is " + TrialText.number(found.getAsDouble()));
    }
  }

  private static void atMost(List<String> failures, String what, TrialFlips found, double most) {
    if (!(found.negativeShare() <= most)) {
      failures.add(
          "at most " + most + " of the " + what + " may turn from right to wrong but " + found.negative() + " of " + found.items() + " do");
    }
  }

  /** The report as plain text. */
  @Override
  public String toString() {
    return TrialText.of(this);
  }
}
