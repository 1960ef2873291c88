package io.portllm.internal.portability.page;

import io.portllm.internal.portability.Judge;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport.Meeting;
import io.portllm.portability.TensorReport.Update;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/** One patch on release after release. */
final class ChainSection {
  private ChainSection() {}

  static Markup of(ChainReport chain) {
    Markup section = new Markup();
    section.add("<section>\n<h2>Release after release</h2>\n<p>Each release is compared with the model that the patch was made on. "
        + "</p>\n<p class=\"sentence\">{}.</p>\n", chain.trend());
    List<PortabilityReport> reports = chain.reports();
    List<String> places = reports.stream().map(PortabilityReport::newBase).toList();
    double[] scores = reports.stream().mapToDouble(report -> report.score().orElse(Double.NaN)).toArray();
    double[] drifts = reports.stream().mapToDouble(report -> report.patched().update().map(Update::drift).orElse(Double.NaN)).toArray();
    section.add("<div class=\"charts\">\n");
    if (DoubleStream.of(scores).anyMatch(score -> !Double.isNaN(score))) {
      Plot plot = Plot.ofNumbers(places, DoubleStream.of(0, 1));
      plot.rule(Judge.PORT_FROM, "PORT from here up").rule(Judge.TUNE_FROM, "DO_NOT_PORT below").line("a", "score", scores);
      chain.turn().ifPresent(turn -> plot.note(turn, Double.isNaN(scores[turn]) ? 0 : scores[turn], "turn"));
      figure(section, plot.draw("Score by release", "A line over the releases: the score of the patch on each.", "release"),
          "Score: 1 on the base that the patch was made on, 0 on an unrelated one.");
    }
    if (DoubleStream.of(drifts).anyMatch(drift -> !Double.isNaN(drift))) {
      DoubleStream values = Stream.of(DoubleStream.of(0), DoubleStream.of(drifts)).flatMapToDouble(part -> part);
      figure(section, Plot.ofShares(places, values).line("a", "drift ‖U‖ / ‖θ‖", drifts)
          .draw("Drift by release", "A line over the releases: how far the weights that the patch changes have moved.", "release"),
          "How far the weights that the patch changes have moved since it was made.");
    }
    return section.add("</div>\n{}</section>\n", table(reports));
  }

  private static void figure(Markup section, Markup picture, String caption) {
    section.add("<figure>{}<figcaption>{}</figcaption></figure>\n", picture, caption);
  }

  private static Markup table(List<PortabilityReport> reports) {
    Markup table = new Markup();
    table.add("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Releases\"><table class=\"num\"><thead><tr>"
        + "<th scope=\"col\">Release</th><th scope=\"col\" class=\"word\">Verdict</th>"
        + "<th scope=\"col\" class=\"word\">Confidence</th><th scope=\"col\">Score</th>"
        + "<th scope=\"col\">Drift %</th><th scope=\"col\">‖Δ‖ / ‖U‖</th><th scope=\"col\">Least cosine</th></tr></thead><tbody>\n");
    for (PortabilityReport report : reports) {
      String drift = report.patched().update().map(update -> Numbers.inPercent(update.drift())).orElse(Numbers.UNKNOWN);
      OptionalDouble ratio = report.patched().meeting().stream().mapToDouble(Meeting::ratio).findFirst();
      table.add(
          "<tr><th scope=\"row\">{}</th><td class=\"word\">{}{}</td><td class=\"word\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
              + "</tr>\n",
          Markup.name(report.newBase()), VerdictSection.icon(report.verdict()), report.verdict(), VerdictSection.word(report.confidence()),
          Numbers.fixed(report.score(), 3), drift, Numbers.of(ratio), Numbers.fixed(report.lineage().leastCosine(), 4));
    }
    return table.add("</tbody></table></div>\n");
  }
}
