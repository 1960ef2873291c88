package io.portllm.internal.portability.page;

import io.portllm.internal.portability.Judge;
import io.portllm.portability.Confidence;
import io.portllm.portability.Finding.Severity;
import io.portllm.portability.Lineage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport.Meeting;
import io.portllm.portability.TensorReport.Update;
import io.portllm.portability.TrialLimits;
import io.portllm.portability.TrialReport;
import io.portllm.portability.Verdict;
import java.util.List;
import java.util.OptionalDouble;

/** What to do, the figures that decided, and why: what is read first. */
final class VerdictSection {
  private VerdictSection() {}

  /** The verdict without data. */
  static Markup of(PortabilityReport report) {
    Markup tiles = tiles(report);
    Markup section = new Markup();
    section.add("<section class=\"verdict {}\">\n", style(report.verdict()));
    section.add("<p class=\"kind\">Judged without data</p>\n");
    section.add("<h2>{}{} <small>confidence {}</small></h2>\n", icon(report.verdict()), words(report.verdict()), word(report.confidence()));
    section.add("<p class=\"advice\">{}</p>\n<div class=\"tiles\">{}</div>\n", report.advice(), tiles);
    section.add("<h3>Why</h3>\n<ul class=\"reasons\">");
    report.reasons().forEach(reason -> section.add("<li>{}</li>\n", reason));
    return section.add("</ul>\n<p class=\"note\">{} {}</p>\n</section>\n", meaning(report.verdict()), meaning(report.confidence()));
  }

  /** The verdict on data. */
  static Markup of(TrialReport trial, TrialLimits limits) {
    List<String> missed = trial.missed(limits);
    // What misses its limits is not shown in the colours of what may be used.
    Verdict shown = missed.isEmpty() || trial.verdict() == Verdict.DO_NOT_PORT ? trial.verdict() : Verdict.PORT_AND_TUNE;
    Markup section = new Markup();
    section.add("<section class=\"verdict {}\">\n<p class=\"kind\">Measured on data</p>\n", style(shown));
    section.add(
        "<h2>{}{} <small>{}{}</small></h2>\n",
        icon(shown), words(trial.verdict()), trial.certain() ? "certain" : "open: more items could change it",
        missed.isEmpty() ? "" : ", but misses its limits");
    section.add("<p class=\"advice\">{}</p>\n<div class=\"tiles\">", trial.advice());
    trial.recovery().ifPresent(recovery -> section.add("{}", tile(
        "Recovery", Numbers.fixed(recovery, 3),
        trial.recoveryInterval().map(interval -> "95 % interval " + TrialSection.text(interval) + ". ").orElse("")
            + "1 is all there is to recover; PORT from " + TrialReport.PORT_FROM + ", DO_NOT_PORT below " + TrialReport.TUNE_FROM + ".",
        gauge("recovery", recovery, TrialReport.TUNE_FROM, TrialReport.PORT_FROM))));
    section.add("{}", tile(
        "Gain", Numbers.fixed(trial.gain(), 3),
        "Score with the patch less score without, 95 % interval " + TrialSection.text(trial.gainInterval()) + ".", new Markup()));
    section.add("{}", tile(
        "Right before, wrong now", trial.flips().negative() + " of " + Numbers.count(trial.flips().items()),
        trial.flips().positive() + " turned the other way.", new Markup()));
    trial.retainPorted().ifPresent(ported -> section.add("{}", tile(
        "Items to retain", Numbers.fixed(trial.retainNoPatch().orElseThrow().score(), 3) + " → " + Numbers.fixed(ported.score(), 3),
        "Their mean score without the patch and with it"
            + trial.retainFlips()
                .map(flips -> "; " + flips.negative() + " of " + Numbers.count(flips.items()) + " are wrong now")
                .orElse("")
            + ".",
        new Markup())));
    section.add("</div>\n");
    if (!limits.equals(TrialLimits.none())) {
      section.add("{}", limits(missed));
    }
    return section.add("<p class=\"note\">What the weights alone say comes next; where the two differ, this one counts.</p>\n</section>\n");
  }

  private static Markup limits(List<String> missed) {
    Markup part = new Markup();
    if (missed.isEmpty()) {
      return part.add("<h3>Limits</h3>\n<p>All are kept.</p>\n");
    }
    part.add("<h3>Limits that are missed</h3>\n<ul class=\"reasons\">");
    missed.forEach(limit -> part.add("<li>{}</li>\n", limit));
    return part.add("</ul>\n");
  }

  /** The figures that the verdict rests on: which, depends on the rule that held. */
  private static Markup tiles(PortabilityReport report) {
    long blocking = report.findings().stream().filter(finding -> finding.severity() == Severity.BLOCKING).count();
    Lineage lineage = report.lineage();
    Markup tiles = new Markup();
    if (blocking > 0) {
      tiles.add("{}", tile("Blocking findings", Numbers.count(blocking), "The patch cannot be applied as it is.", new Markup()));
    } else if (lineage.kind() == Lineage.Kind.SAME) {
      String share = Numbers.count(lineage.identical()) + " of " + Numbers.count(lineage.compared());
      tiles.add("{}", tile("Identical tensors", share, "The new base is the one that the patch was made on.", new Markup()));
    } else if (lineage.kind() == Lineage.Kind.UNRELATED) {
      tiles.add("{}{}{}",
          tile("Nothing in common", Numbers.percent(lineage.brokenShare()),
              "The part in matrices with a cosine below " + Lineage.BROKEN + " to the old ones.", new Markup()),
          tile("Cosine of old and new weights", Numbers.fixed(lineage.cosine(), 4), "1 for the same weights, about 0 for unrelated ones.",
              new Markup()),
          tile("Least of a matrix", Numbers.fixed(lineage.leastCosine(), 4), lineage.leastTensor().orElse(""), new Markup()));
    } else {
      report.score().ifPresent(score -> tiles.add("{}", score(score)));
      report.patched().update().or(report.total()::update).ifPresent(update -> tiles.add("{}", drift(update)));
      report.patched().meeting().ifPresent(meeting -> tiles.add("{}", ratio(meeting)));
    }
    return tiles;
  }

  private static Markup score(double score) {
    return tile(
        "Score", Numbers.fixed(score, 3),
        "1 for the same base, 0 for an unrelated one. PORT from " + Judge.PORT_FROM + ", DO_NOT_PORT below " + Judge.TUNE_FROM + ".",
        gauge("score", score, Judge.TUNE_FROM, Judge.PORT_FROM));
  }

  private static Markup drift(Update update) {
    return tile(
        "How far the update moved the weights", Numbers.percent(update.drift()),
        "In the tensors that the patch changes; " + Numbers.percent(update.spread()) + " outside the update’s eight leading directions."
            + (update.estimated() ? " Estimated from sketches." : ""),
        new Markup());
  }

  private static Markup ratio(Meeting meeting) {
    OptionalDouble signs = meeting.signConflicts();
    return tile(
        "Patch against update", Numbers.three(meeting.ratio()) + "×",
        "‖patch‖ / ‖update‖ where the patch acts; below 1 the update outweighs it. Cosine of the two " + Numbers.fixed(meeting.cosine(), 4)
            + (signs.isPresent() ? ", signs that contradict " + Numbers.percent(signs) : "") + ".",
        new Markup());
  }

  private static Markup tile(String name, String figure, String meaning, Markup picture) {
    return new Markup().add(
        "<div class=\"tile\"><p class=\"name\">{}</p><p class=\"figure\">{}</p>{}<p>{}</p></div>\n", name, figure, picture, meaning);
  }

  /** A figure from 0 to 1 on a strip with the verdicts' ranges. */
  private static Markup gauge(String name, double value, double tune, double port) {
    double at = Math.max(0, Math.min(1, value)) * 200;
    Markup svg = new Markup();
    svg.add("<svg class=\"gauge\" viewBox=\"-6 0 212 24\" role=\"img\"><title>{} {} on a scale from 0 to 1</title>",
        name, Numbers.fixed(value, 3));
    svg.add("<rect class=\"z0\" x=\"0\" y=\"10\" width=\"{}\" height=\"8\"/>", Numbers.at(200 * tune - 1));
    svg.add("<rect class=\"z1\" x=\"{}\" y=\"10\" width=\"{}\" height=\"8\"/>",
        Numbers.at(200 * tune), Numbers.at(200 * (port - tune) - 1));
    svg.add("<rect class=\"z2\" x=\"{}\" y=\"10\" width=\"{}\" height=\"8\"/>", Numbers.at(200 * port), Numbers.at(200 * (1 - port)));
    String x = Numbers.at(at);
    return svg.add("<path class=\"hand\" d=\"M{} 9l-5-8h10z\"/><path class=\"pin\" d=\"M{} 9v10\"/></svg>", x, x);
  }

  /** Each verdict has a shape, for those to whom its colour says nothing. */
  static Markup icon(Verdict verdict) {
    String shape = switch (verdict) {
      case PORT -> "<circle cx=\"12\" cy=\"12\" r=\"11\"/><path d=\"M6.5 12.5l4 4 7-8\"/>";
      case PORT_AND_TUNE -> "<path class=\"body\" d=\"M12 1.5l11 20.5h-22z\"/><path d=\"M12 9v6.5M12 18v1.5\"/>";
      case DO_NOT_PORT -> "<rect x=\"1\" y=\"1\" width=\"22\" height=\"22\" rx=\"4\"/><path d=\"M7 7l10 10M17 7l-10 10\"/>";
    };
    return new Markup().add("<svg class=\"icon " + style(verdict) + "\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">" + shape + "</svg>");
  }

  static String style(Verdict verdict) {
    return switch (verdict) {
      case PORT -> "v2";
      case PORT_AND_TUNE -> "v1";
      case DO_NOT_PORT -> "v0";
    };
  }

  static String words(Verdict verdict) {
    return verdict.name();
  }

  static String word(Confidence confidence) {
    return switch (confidence) {
      case LOW -> "low";
      case MEDIUM -> "medium";
      case HIGH -> "high";
    };
  }

  private static String meaning(Verdict verdict) {
    return switch (verdict) {
      case PORT -> "PORT: nothing that was measured speaks against adding the patch as it is.";
      case PORT_AND_TUNE ->
          "PORT_AND_TUNE: the patch is a better start than the new base alone, but is not to be used before a short tune or a test on "
              + "data.";
      case DO_NOT_PORT -> "DO_NOT_PORT: the patch does not fit, or too little of the base that it was made on is left.";
    };
  }

  private static String meaning(Confidence confidence) {
    return switch (confidence) {
      case LOW -> "Low confidence: with figures like these some patches work and some fail, or figures are missing. Test on data.";
      case MEDIUM -> "Medium confidence: the figures are in a known range, but no data were looked at.";
      case HIGH -> "High confidence: the verdict follows from facts.";
    };
  }
}
