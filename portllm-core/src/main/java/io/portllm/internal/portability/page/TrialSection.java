package io.portllm.internal.portability.page;

import io.portllm.portability.Interval;
import io.portllm.portability.TrialArm;
import io.portllm.portability.TrialFlips;
import io.portllm.portability.TrialPoint;
import io.portllm.portability.TrialReport;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;

/** What a trial on the caller's data measured. */
final class TrialSection {
  private static final int LEFT = 205;
  private static final int WIDTH = 560;
  private static final int ROW = 26;

  private TrialSection() {}

  static Markup of(TrialReport trial) {
    List<TrialArm> arms = Stream.of(
            Stream.of(trial.noPatch(), trial.ported()), trial.reference().stream(), trial.retuned().stream(),
            trial.retainNoPatch().stream(), trial.retainPorted().stream())
        .flatMap(Function.identity())
        .toList();
    Markup section = new Markup();
    section.add("<section>\n<h2>Trial on data</h2>\n<figure>{}<figcaption>Mean scores with their 95 % intervals (Wilson)."
        + "</figcaption></figure>\n", intervals(arms));
    section.add("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Models of the trial\"><table class=\"num\"><thead><tr>"
        + "<th scope=\"col\">Model</th><th scope=\"col\">Score</th><th scope=\"col\">95 % interval</th><th scope=\"col\">Items</th></tr>"
        + "</thead><tbody>\n");
    for (TrialArm arm : arms) {
      section.add("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
          arm.name(), Numbers.fixed(arm.score(), 3), text(arm.interval()), Numbers.count(arm.items()));
    }
    section.add("</tbody></table></div>\n<h3>Items that changed sides</h3>\n");
    section.add("{}", flips("On the trial’s items", trial.flips()));
    trial.retainFlips().ifPresent(flips -> section.add("{}", flips("On the items to retain", flips)));
    section.add("<div class=\"charts\">\n");
    points(section, trial.scales(), "Score by scale of the patch", "scale of the patch", "Score with the patch multiplied. Best at "
        + Numbers.tick(trial.bestScale()) + ".");
    points(section, trial.path(), "Score on the way from the old base to the new one", "old base (0) to new base (1)",
        "Score of the patch on bases between the old one and the new one.");
    return section.add("</div>\n</section>\n");
  }

  static String text(Interval interval) {
    return "[" + Numbers.fixed(interval.low(), 3) + ", " + Numbers.fixed(interval.high(), 3) + "]";
  }

  private static Markup intervals(List<TrialArm> arms) {
    int height = ROW * arms.size() + 30;
    Markup svg = new Markup();
    svg.add("<svg class=\"plot wide\" viewBox=\"0 0 {} {}\" role=\"img\"><title>Scores of the trial’s models</title>"
        + "<desc>For each model a mark at its mean score from 0 to 1 and a stroke over its 95 % interval.</desc>", WIDTH, height);
    for (int i = 0; i <= 5; i++) {
      double x = x(i / 5.0);
      svg.add("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"4\" y2=\"{}\"/>", Numbers.at(x), Numbers.at(x), height - 24);
      svg.add("<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>", Numbers.at(x), height - 8, Numbers.tick(i / 5.0));
    }
    for (int i = 0; i < arms.size(); i++) {
      TrialArm arm = arms.get(i);
      double y = 4 + ROW * (i + 0.5);
      svg.add("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>", LEFT - 10, Numbers.at(y + 4), Markup.shortened(arm.name(), 26));
      svg.add("<line class=\"range a\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
          Numbers.at(x(arm.interval().low())), Numbers.at(x(arm.interval().high())), Numbers.at(y), Numbers.at(y));
      svg.add("<circle class=\"dot a\" cx=\"{}\" cy=\"{}\" r=\"5\"><title>{}: {} {}</title></circle>",
          Numbers.at(x(arm.score())), Numbers.at(y), arm.name(), Numbers.fixed(arm.score(), 3), text(arm.interval()));
    }
    return svg.add("</svg>");
  }

  private static double x(double score) {
    return LEFT + Math.max(0, Math.min(1, score)) * (WIDTH - LEFT - 20);
  }

  private static Markup flips(String where, TrialFlips flips) {
    int kept = flips.items() - flips.negative() - flips.positive();
    double unit = flips.items() == 0 ? 0 : 500.0 / flips.items();
    Markup figure = new Markup();
    figure.add("<figure><svg class=\"plot wide\" viewBox=\"0 0 500 16\" role=\"img\"><title>{}: {} of {} right before and wrong now, {} "
        + "the other way</title>", where, flips.negative(), flips.items(), flips.positive());
    figure.add("<rect class=\"bar w3\" x=\"0\" y=\"0\" width=\"{}\" height=\"16\"/>", Numbers.at(flips.negative() * unit));
    figure.add("<rect class=\"bar n\" x=\"{}\" y=\"0\" width=\"{}\" height=\"16\"/>",
        Numbers.at(flips.negative() * unit), Numbers.at(kept * unit));
    figure.add("<rect class=\"bar c3\" x=\"{}\" y=\"0\" width=\"{}\" height=\"16\"/></svg>",
        Numbers.at((flips.negative() + kept) * unit), Numbers.at(flips.positive() * unit));
    return figure.add("<figcaption><b>{}</b>: {} of {} right before and wrong now ({}), {} wrong before and right now, {} as they were."
        + "</figcaption></figure>\n", where, Numbers.count(flips.negative()), Numbers.count(flips.items()),
        Numbers.percent(flips.negativeShare()), Numbers.count(flips.positive()), Numbers.count(kept));
  }

  private static void points(Markup section, List<TrialPoint> points, String title, String below, String caption) {
    if (points.isEmpty()) {
      return;
    }
    List<TrialPoint> sorted = points.stream().sorted(Comparator.comparingDouble(TrialPoint::at)).toList();
    double[] scores = sorted.stream().mapToDouble(TrialPoint::score).toArray();
    Plot plot = Plot.at(sorted.stream().mapToDouble(TrialPoint::at).toArray()).line("a", "score", scores);
    section.add("<figure>{}<figcaption>{} {}</figcaption></figure>\n", plot.draw(title, caption, below), caption, list(points));
  }

  /** The picture's figures in words. */
  private static Markup list(List<TrialPoint> points) {
    Markup list = new Markup();
    for (int i = 0; i < points.size(); i++) {
      list.add(i == 0 ? "{}: {}" : ", {}: {}", Numbers.tick(points.get(i).at()), Numbers.fixed(points.get(i).score(), 3));
    }
    return list.add(".");
  }
}
