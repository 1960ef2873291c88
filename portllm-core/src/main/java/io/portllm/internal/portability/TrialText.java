package io.portllm.internal.portability;

import io.portllm.internal.text.Names;
import io.portllm.portability.Interval;
import io.portllm.portability.TrialArm;
import io.portllm.portability.TrialFlips;
import io.portllm.portability.TrialPoint;
import io.portllm.portability.TrialReport;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A trial as plain text. */
public final class TrialText {
  private TrialText() {}

  /** The text of {@code report}. */
  public static String of(TrialReport report) {
    StringBuilder text = new StringBuilder();
    text.append(report.verdict()).append(report.certain() ? " (certain)" : " (open: more items could change it)").append('\n');
    text.append("patch     ").append(Names.quote(report.patch())).append('\n');
    text.append("new base  ").append(Names.quote(report.newBase())).append("\n\n");
    text.append("=> ").append(advice(report)).append("\n\n");
    Stream.of(Stream.of(report.noPatch(), report.ported()), report.reference().stream(), report.retuned().stream(),
            report.retainNoPatch().stream(), report.retainPorted().stream())
        .flatMap(Function.identity())
        .forEach(arm -> text.append(arm(arm)));
    text.append(String.format(Locale.ROOT, "%-24s %s %s\n", "gain", number(report.gain()), interval(report.gainInterval())));
    String interval = report.recoveryInterval().map(TrialText::interval).orElse("");
    report.recovery().ifPresent(
        recovery -> text.append(String.format(Locale.ROOT, "%-24s %s %s\n", "recovery", number(recovery), interval)));
    text.append(flips("flips", report.flips()));
    report.retainFlips().ifPresent(flips -> text.append(flips("flips of what to retain", flips)));
    text.append(points("scale", report.scales())).append(points("path", report.path()));
    return text.toString().stripTrailing();
  }

  /** What to do next, in a few sentences. */
  public static String advice(TrialReport report) {
    StringBuilder advice = new StringBuilder(switch (report.verdict()) {
      case PORT -> "Use the port: it ";
      case PORT_AND_TUNE -> report.recovery().isPresent() ? "Tune the port before it is used: it " : "Score more items: the port ";
      case DO_NOT_PORT -> "Tune the patch anew on this base: the port ";
    });
    if (report.recovery().isPresent()) {
      advice.append("recovers ").append(ReportText.percent(report.recovery().getAsDouble())).append(" of what there is to recover.");
    } else {
      advice.append(switch (report.verdict()) {
        case PORT -> "scores higher than the new base alone.";
        case PORT_AND_TUNE -> "may or may not score higher than the new base alone.";
        case DO_NOT_PORT -> "does not score higher than the new base alone.";
      });
    }
    if (report.bestScale() != 1) {
      advice.append(String.format(Locale.ROOT, " With the patch times %s it scores higher.", Double.toString(report.bestScale())));
    }
    report.retainFlips().filter(flips -> flips.negative() > 0).ifPresent(flips ->
        advice.append(String.format(Locale.ROOT, " But it costs %d of the %d items to retain.", flips.negative(), flips.items())));
    return advice.toString();
  }

  /** A number of three digits after the point. */
  public static String number(double value) {
    return String.format(Locale.ROOT, "%.3f", value);
  }

  private static String arm(TrialArm arm) {
    return String.format(Locale.ROOT, "%-24s %s %s of %d items\n", arm.name(), number(arm.score()), interval(arm.interval()), arm.items());
  }

  private static String interval(Interval interval) {
    return "[" + number(interval.low()) + ", " + number(interval.high()) + "]";
  }

  private static String flips(String name, TrialFlips flips) {
    String format = "%-24s %d of %d right before and wrong now, %d the other way\n";
    return String.format(Locale.ROOT, format, name, flips.negative(), flips.items(), flips.positive());
  }

  private static String point(TrialPoint point) {
    return String.format(Locale.ROOT, "%.2f: %s", point.at(), number(point.score()));
  }

  private static String points(String name, List<TrialPoint> points) {
    return points.isEmpty()
        ? ""
        : String.format(Locale.ROOT, "%-24s ", name)
            + points.stream().map(TrialText::point).collect(Collectors.joining(", "))
            + "\n";
  }
}
