package io.portllm.internal.portability;

import io.portllm.internal.text.Names;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport;
import java.util.Locale;

/** A chain as plain text. */
public final class ChainText {
  private static final String LINE = "%-14s %-10s %8s %8s %8s  %s\n";

  private ChainText() {}

  /** The text of {@code chain}. */
  public static String of(ChainReport chain) {
    StringBuilder text = new StringBuilder();
    text.append(String.format(LINE, "verdict", "confidence", "score", "drift", "ratio", "new base"));
    for (PortabilityReport report : chain.reports()) {
      text.append(
          String.format(
              LINE,
              report.verdict(),
              report.confidence().name().toLowerCase(Locale.ROOT),
              report.score().stream().mapToObj(score -> String.format(Locale.ROOT, "%.3f", score)).findFirst().orElse("-"),
              report.patched().update().map(update -> String.format(Locale.ROOT, "%.4f", update.drift())).orElse("-"),
              report.patched().meeting().map(TensorReport.Meeting::ratio).map(ReportText::number).orElse("-"),
              Names.quote(report.newBase())));
    }
    return text.append(chain.trend()).toString();
  }
}
