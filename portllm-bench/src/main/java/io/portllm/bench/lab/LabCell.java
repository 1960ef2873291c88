package io.portllm.bench.lab;

import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TrialReport;
import io.portllm.portability.Verdict;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * One patch on one base.
 *
 * @param patch the patch's folder
 * @param base the base's folder, or what was done to one
 * @param noPatch accuracy of the base alone on 2,000 prompts, in percent; absent if that was not measured
 * @param ported the same with the patch
 * @param onOldBase the same on the base that the patch was made on
 * @param report what is said without data
 * @param trial what is found on the prompts of {@code eval.json}
 */
record LabCell(
    String patch,
    String base,
    OptionalDouble noPatch,
    OptionalDouble ported,
    OptionalDouble onOldBase,
    PortabilityReport report,
    TrialReport trial) {
  /** Measured on 2,000 prompts: the part of what the patch gives on its own base, above what the new base has without it. */
  OptionalDouble recovery() {
    if (ported.isEmpty()) {
      return OptionalDouble.empty();
    }
    double none = noPatch.getAsDouble();
    return OptionalDouble.of((ported.getAsDouble() - none) / (onOldBase.getAsDouble() - none));
  }

  /** The verdict that 2,000 prompts give, with the limits of trials. */
  Optional<Verdict> right() {
    return recovery().stream().boxed().findFirst().map(value ->
        value >= TrialReport.PORT_FROM ? Verdict.PORT : value < TrialReport.TUNE_FROM ? Verdict.DO_NOT_PORT : Verdict.PORT_AND_TUNE);
  }

  /** Accuracy with the patch in percent: on 2,000 prompts where that was measured, else on those of the trial. */
  double accuracy() {
    return ported.orElse(100 * trial.ported().score());
  }

  /** A row of a Markdown table. */
  String row() {
    return String.format(
        Locale.ROOT,
        "| %s | %s | %s | %s | %.1f | %s | %s, %s | %.3f | %s%s |",
        patch,
        base,
        percent(noPatch),
        percent(ported),
        100 * trial.ported().score(),
        recovery().stream().mapToObj(value -> String.format(Locale.ROOT, "%.2f", value)).findFirst().orElse("–"),
        report.verdict(),
        report.confidence().name().toLowerCase(Locale.ROOT),
        report.score().orElse(Double.NaN),
        trial.verdict(),
        right().filter(verdict -> verdict != trial.verdict()).map(verdict -> " (" + verdict + " by 2,000)").orElse(""));
  }

  private static String percent(OptionalDouble value) {
    return value.isPresent() ? String.format(Locale.ROOT, "%.1f", value.getAsDouble()) : "–";
  }
}
