package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import io.portllm.internal.portability.ChainText;
import java.util.List;
import java.util.OptionalInt;

/**
 * One patch judged on release after release.
 *
 * @param reports the report on each release, in their order; each against the model that the patch was made on
 * @param turn the first release on which the patch does worse than the trend before allows: its verdict is worse than that of the release
 *     before, or its score fell by more than twice what it fell by in any step before. Absent if there is none
 * @param releasesLeft how many more releases the score stays at what PORT needs, if it goes on falling as it did on average since the
 *     first; absent if it does not fall, or is below already
 * @param trend what that means, in a sentence
 */
public record ChainReport(List<PortabilityReport> reports, OptionalInt turn, OptionalInt releasesLeft, String trend) {
  public ChainReport {
    reports = ImmutableList.copyOf(reports);
  }

  /** The report as plain text: a line for each release, and the trend. */
  @Override
  public String toString() {
    return ChainText.of(this);
  }
}
