package io.portllm.internal.portability;

import io.portllm.internal.text.Names;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;
import java.util.List;
import java.util.OptionalInt;

/** Looks for a trend in the reports on release after release. */
public final class Chain {
  /** A step that falls by more than this many times the largest one before is no part of the trend. */
  private static final double SUDDEN = 2;

  /** Falls of less than this are noise. */
  private static final double NOISE = 0.02;

  private Chain() {}

  /** The chain of {@code reports}, at least one. */
  public static ChainReport of(List<PortabilityReport> reports) {
    OptionalInt turn = turn(reports);
    OptionalInt left = releasesLeft(reports);
    return new ChainReport(reports, turn, left, trend(reports, turn, left));
  }

  private static OptionalInt turn(List<PortabilityReport> reports) {
    double steepest = NOISE;
    // The patch starts from where it was made, with a score of 1.
    double before = 1;
    for (int i = 0; i < reports.size(); i++) {
      boolean worse = i > 0 && reports.get(i).verdict().compareTo(reports.get(i - 1).verdict()) > 0;
      double score = reports.get(i).score().orElse(before);
      double fall = before - score;
      if (worse || i > 0 && fall > SUDDEN * steepest) {
        return OptionalInt.of(i);
      }
      steepest = Math.max(steepest, fall);
      before = score;
    }
    return OptionalInt.empty();
  }

  private static OptionalInt releasesLeft(List<PortabilityReport> reports) {
    double last = reports.get(reports.size() - 1).score().orElse(Double.NaN);
    double pace = (1 - last) / reports.size();
    boolean falls = last >= Judge.PORT_FROM && pace > 0;
    return falls ? OptionalInt.of((int) Math.min(1000, (last - Judge.PORT_FROM) / pace)) : OptionalInt.empty();
  }

  private static String trend(List<PortabilityReport> reports, OptionalInt turn, OptionalInt left) {
    if (turn.isPresent()) {
      PortabilityReport report = reports.get(turn.getAsInt());
      return "the trend turns at " + Names.quote(report.newBase()) + ": " + report.verdict()
          + report.score().stream().mapToObj(score -> ", score " + ReportText.number(score)).findFirst().orElse("")
          + "; tune the patch anew on the release before, or on this one";
    }
    if (left.isPresent()) {
      int more = left.getAsInt();
      return "no turn: at this pace the score stays at what PORT needs for " + more + (more == 1 ? " more release" : " more releases");
    }
    return "no turn";
  }
}
