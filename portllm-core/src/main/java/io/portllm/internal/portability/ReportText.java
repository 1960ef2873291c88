package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.Rounding;
import io.portllm.internal.text.Names;
import io.portllm.portability.Finding;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Storage;
import io.portllm.portability.TensorReport;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.stream.Collectors;

/** A report as plain text. */
public final class ReportText {
  /** Tensors listed, those that moved most first. */
  private static final int LISTED = 12;

  private final StringBuilder text = new StringBuilder();

  private ReportText() {}

  /** The text of {@code report}. */
  public static String of(PortabilityReport report) {
    ReportText writer = new ReportText();
    writer.write(report);
    return writer.text.toString().stripTrailing();
  }

  /** A share as a percentage of three digits or so. */
  static String percent(double share) {
    double value = 100 * share;
    return String.format(Locale.ROOT, value != 0 && Math.abs(value) < 10 ? "%.2f %%" : "%.1f %%", value);
  }

  /** A number of two or three digits. */
  static String number(double value) {
    return Double.isInfinite(value) ? "infinite" : String.format(Locale.ROOT, Math.abs(value) < 10 ? "%.2f" : "%.1f", value);
  }

  private void write(PortabilityReport report) {
    line("%s (confidence: %s)", report.verdict(), report.confidence().name().toLowerCase(Locale.ROOT));
    line("patch     %s", Names.quote(report.patch()));
    line("old base  %s", report.oldBase().map(Names::quote).orElse("unknown"));
    line("new base  %s", Names.quote(report.newBase()));
    line("");
    report.reasons().forEach(reason -> line("* %s", reason));
    line("=> %s", report.advice());
    line("");
    report.score().ifPresent(score -> line("score     %.3f", score));
    line(
        "lineage   %s: %d tensors compared, %d identical%s%s",
        report.lineage().kind().name().toLowerCase(Locale.ROOT),
        report.lineage().compared(),
        report.lineage().identical(),
        with(", cosine %.4f", report.lineage().cosine()),
        with(", least of a matrix %.4f", report.lineage().leastCosine()));
    totals(report.patched(), "patched");
    totals(report.total(), "all");
    report.storage().ifPresentOrElse(this::storage, () -> report.patched().change().ifPresent(change -> rounding(change.rounding())));
    if (!report.findings().isEmpty()) {
      line("");
      for (Finding finding : report.findings()) {
        line("%-8s  %s", finding.severity().name().toLowerCase(Locale.ROOT), finding.what());
      }
    }
    tensors(report.tensors());
  }

  private void totals(TensorReport figures, String name) {
    figures.update().ifPresent(update -> line(
        "%-9s drift %s, outside eight directions %s, cosine %.4f%s",
        name, percent(update.drift()), percent(update.spread()), update.cosine(), update.estimated() ? " (estimated)" : ""));
    figures.change().ifPresent(change -> line(
        "%-9s patch %s of the weights%s",
        "", percent(change.relative()), figures.meeting().map(meeting -> meeting(meeting)).orElse("")));
  }

  private static String meeting(TensorReport.Meeting meeting) {
    return String.format(Locale.ROOT, ", %s times the update, cosine with it %.4f", number(meeting.ratio()), meeting.cosine())
        + with(", sign conflicts %.3f", meeting.signConflicts())
        + with("; moved on its inputs %.4f", meeting.inputDrift())
        + with(", on its outputs %.4f", meeting.outputDrift());
  }

  private static String with(String format, OptionalDouble value) {
    return value.isPresent() ? String.format(Locale.ROOT, format, value.getAsDouble()) : "";
  }

  private void rounding(Rounding rounding) {
    if (rounding.touched() > 0) {
      line(
          "rounding  %d of %d changed weights stay as they were (%s)",
          rounding.vanished(), rounding.touched(), percent((double) rounding.vanished() / rounding.touched()));
    }
  }

  private void storage(Storage storage) {
    line(
        "storage   %s, by a sample of %d of %d weights in %d tensors: %s of the changed weights stay as they were",
        storage.types().stream().map(DType::name).collect(Collectors.joining(", ")),
        storage.sampled(),
        storage.weights(),
        storage.tensors(),
        percent(storage.rounding().touched() == 0 ? 0 : (double) storage.rounding().vanished() / storage.rounding().touched()));
    if (storage.quantised().blocks() > 0) {
      line(
          "          %s of the blocks keep their bytes, %s of the change is kept, quantising adds an error of %s times the change",
          percent((double) storage.quantised().unchanged() / storage.quantised().blocks()),
          percent(storage.quantised().kept()),
          number(storage.quantised().error()));
    }
  }

  private void tensors(List<TensorReport> tensors) {
    List<TensorReport> moved = tensors.stream()
        .filter(tensor -> tensor.update().isPresent() && tensor.change().isPresent())
        .sorted(Comparator.comparingDouble((TensorReport tensor) -> -tensor.update().get().drift()))
        .limit(LISTED)
        .toList();
    if (moved.isEmpty()) {
      return;
    }
    line("");
    line("%8s %8s %8s %8s %8s  %s", "drift", "spread", "patch", "ratio", "cosine", "changed tensors that moved most");
    for (TensorReport tensor : moved) {
      line(
          "%8.4f %8.4f %8.4f %8s %8.4f  %s",
          tensor.update().get().drift(),
          tensor.update().get().spread(),
          tensor.change().get().relative(),
          tensor.meeting().map(meeting -> number(meeting.ratio())).orElse("-"),
          tensor.update().get().cosine(),
          Names.quote(tensor.name()));
    }
  }

  private void line(String format, Object... arguments) {
    text.append(String.format(Locale.ROOT, format, arguments)).append('\n');
  }
}
