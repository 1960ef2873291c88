package io.portllm.internal.portability;

import static io.portllm.internal.portability.ReportText.number;
import static io.portllm.internal.portability.ReportText.percent;

import io.portllm.Patch;
import io.portllm.internal.text.Names;
import io.portllm.portability.Confidence;
import io.portllm.portability.Finding;
import io.portllm.portability.Finding.Severity;
import io.portllm.portability.Lineage;
import io.portllm.portability.TensorReport;
import io.portllm.portability.Verdict;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** Comes from figures to a verdict. {@code docs/concepts/portability.md} has where the limits come from and how good they are. */
public final class Judge {
  /** From this score on, patches may be added as they are. The lab's updates at ordinary learning rates have 0.88 and more. */
  public static final double PORT_FROM = 0.8;

  /** Below this score nothing of the old base is left to build on. The lab's update at a high learning rate has 0.6. */
  public static final double TUNE_FROM = 0.5;

  /** A patch smaller than the update is one change among greater ones. */
  private static final double LEAST_RATIO = 1;

  /** From this part of displaced rows on, units were moved or replaced. Updates of the lab have up to 0.0002. */
  private static final double MOST_DISPLACED = 0.005;

  /** Published patches that port change weights by up to about this part; the lab's, of which many fail, by 0.2 and more. */
  private static final double SMALL_PATCH = 0.1;

  /** Published updates that patches survive move the weights by up to about this part. */
  private static final double SMALL_DRIFT = 0.05;

  private final Patch patch;
  private final Lineage lineage;
  private final List<Finding> findings;
  private final TensorReport patched;
  private final TensorReport total;
  private final List<String> reasons = new ArrayList<>();

  /** A verdict, how far to trust it, and why. */
  record Judgement(Verdict verdict, Confidence confidence, List<String> reasons, String advice) {}

  Judge(Patch patch, Lineage lineage, List<Finding> findings, TensorReport patched, TensorReport total) {
    this.patch = patch;
    this.lineage = lineage;
    this.findings = findings;
    this.patched = patched;
    this.total = total;
  }

  /** The score, if anything is known of the old weights. */
  OptionalDouble score() {
    Optional<TensorReport.Update> update = patched.update().or(total::update);
    if (update.isEmpty()) {
      return OptionalDouble.empty();
    }
    double spread = update.get().spread();
    double moved = patched.meeting()
        .filter(meeting -> meeting.inputDrift().isPresent())
        .map(meeting -> Math.sqrt(meeting.inputDrift().getAsDouble() * meeting.outputDrift().getAsDouble()))
        .orElse(update.get().drift());
    double lost = Math.sqrt(spread * moved);
    return OptionalDouble.of((1 - lineage.brokenShare()) * (lost < 1 ? 1 - lost : 0));
  }

  Judgement judge() {
    List<String> blocking = findings.stream().filter(finding -> finding.severity() == Severity.BLOCKING).map(Finding::what).toList();
    if (!blocking.isEmpty()) {
      String more = blocking.size() > 1 ? " (and " + (blocking.size() - 1) + " more)" : "";
      reasons.add("the patch cannot be applied as it is: " + blocking.get(0) + more);
      return judgement(
          Verdict.DO_NOT_PORT, Confidence.HIGH, "Settle what blocks the port, or allow it by the option named, and check again.");
    }
    if (lineage.kind() == Lineage.Kind.SAME) {
      reasons.add("the new base is the model that the patch was made on: all " + lineage.identical() + " tensors are the same");
      return judgement(Verdict.PORT, Confidence.HIGH, "Apply the patch.");
    }
    if (patch.isExact()) {
      reasons.add("the patch is exact: it changes the bits of one model, and the new base is another");
      return judgement(Verdict.DO_NOT_PORT, Confidence.HIGH, "Extract the fine-tune again as a difference, without --exact.");
    }
    if (score().isEmpty()) {
      reasons.add("nothing is known of the old weights, so neither lineage nor drift can be told");
      reasons.add("the patch fits the new base by names and shapes, which says nothing about whether it works");
      return judgement(
          Verdict.PORT_AND_TUNE,
          Confidence.LOW,
          "Give the old base, or a patch file written with it at hand, to get a verdict; or test on data.");
    }
    return byFigures(score().getAsDouble());
  }

  private Judgement byFigures(double score) {
    if (lineage.kind() == Lineage.Kind.UNRELATED) {
      reasons.add(
          percent(lineage.brokenShare())
              + " of the patch, the weights or the matrices has nothing in common with the old ones (cosine below "
              + number(Lineage.BROKEN) + "; the least, " + number(lineage.leastCosine().orElse(0)) + ", in "
              + Names.quote(lineage.leastTensor().orElse(""))
              + "): the new base was trained from another start, or its heads or units were reordered");
      return judgement(
          Verdict.DO_NOT_PORT, Confidence.HIGH, "Tune the new base from scratch; what the patch learnt does not carry over by addition.");
    }
    boolean port = score >= PORT_FROM;
    addScore(score);
    if (score < TUNE_FROM) {
      return judgement(
          Verdict.DO_NOT_PORT, Confidence.MEDIUM, "Tune the new base from scratch; if data are at hand, try the port as its start.");
    }
    if (lineage.kind() == Lineage.Kind.MIXED) {
      port = false;
      reasons.add(
          percent(lineage.brokenShare()) + " of the patch, the weights or the matrices has nothing in common with the old ones, such as "
              + Names.quote(lineage.leastTensor().orElse("")) + " (cosine " + number(lineage.leastCosine().orElse(0)) + ")");
    }
    double displaced = patched.update().map(update -> update.displacedRows().orElse(0)).orElse(0.0);
    if (displaced > MOST_DISPLACED) {
      port = false;
      reasons.add(percent(displaced) + " of the rows in the matrices that the patch changes were replaced or moved");
    }
    double ratio = patched.meeting().map(TensorReport.Meeting::ratio).orElse(Double.POSITIVE_INFINITY);
    if (ratio < LEAST_RATIO) {
      port = false;
      reasons.add("the update outweighs the patch: it is " + number(1 / ratio) + " times as large in the tensors that the patch changes");
    } else if (Double.isFinite(ratio)) {
      reasons.add("the patch is " + number(ratio) + " times as large as the update in the tensors that it changes");
    }
    if (findings.stream().anyMatch(finding -> finding.severity() == Severity.WARNING)) {
      port = false;
      reasons.add(findings.stream().filter(finding -> finding.severity() == Severity.WARNING).findFirst().orElseThrow().what());
    }
    if (!port) {
      return judgement(
          Verdict.PORT_AND_TUNE,
          Confidence.LOW,
          "Apply the patch, then tune for a few percent of the usual steps from there, and compare with no patch on data before use.");
    }
    double size = patched.change().map(TensorReport.Change::relative).orElse(0.0);
    double drift = patched.update().map(TensorReport.Update::drift).orElse(0.0);
    boolean small = size <= SMALL_PATCH && drift <= SMALL_DRIFT;
    if (!small) {
      reasons.add(
          size > SMALL_PATCH
              ? "the patch changes the weights that it touches by " + percent(size)
                  + ": patches this large port if they call on what the base can do, and fail if they taught something new, which the "
                  + "weights do not tell"
              : "the weights moved by " + percent(drift) + ", more than published updates that patches survived");
    }
    return judgement(
        Verdict.PORT,
        small ? Confidence.MEDIUM : Confidence.LOW,
        small
            ? "Apply the patch, and compare with no patch on data before use."
            : "Apply the patch, but do not use it before a test on data.");
  }

  private void addScore(double score) {
    TensorReport.Update update = patched.update().or(total::update).orElseThrow();
    String where = patched.update().isPresent() ? "the tensors that the patch changes" : "the model";
    String moved = patched.meeting()
        .filter(meeting -> meeting.inputDrift().isPresent())
        .map(meeting -> ", by " + percent(meeting.inputDrift().getAsDouble()) + " on what the patch reads and "
            + percent(meeting.outputDrift().getAsDouble()) + " on what it writes")
        .orElse("");
    reasons.add(
        "the update moved " + where + " by " + percent(update.drift()) + moved + ", " + percent(update.spread())
            + " outside its eight leading directions: score " + number(score) + " (PORT from " + number(PORT_FROM) + ", DO_NOT_PORT below "
            + number(TUNE_FROM) + ")" + (update.estimated() ? ", estimated from the patch file's sketches" : ""));
  }

  private Judgement judgement(Verdict verdict, Confidence confidence, String advice) {
    return new Judgement(verdict, confidence, reasons, advice);
  }
}
