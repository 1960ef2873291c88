package io.portllm.internal.portability.page;

import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorReport.Change;
import io.portllm.portability.TensorReport.Meeting;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;

/** Every figure of every tensor. */
final class TensorTable {
  /** The heading of each column. */
  private static final String[] COLUMNS = {
    "weights", "drift %", "spread %", "cos(θ, θ′)", "rows moved %", "‖Δ‖ / ‖θ′‖ %", "‖Δ‖ / ‖U‖", "cos(Δ, U)", "signs", "signs, weighted",
    "drift in %", "drift out %", "overlap in", "overlap out", "weight in", "weight out", "rounded away", "overflow", "not finite"
  };

  private TensorTable() {}

  static Markup of(PortabilityReport report) {
    Markup table = new Markup();
    table.add("<section>\n<h2>All tensors</h2>\n<p class=\"note\">θ is the old base, θ′ the new one, U = θ′ − θ the update, Δ the patch, "
        + "‖·‖ the Frobenius norm. <b>spread</b>: the drift outside the update’s eight leading directions. <b>rows moved</b>: rows whose "
        + "cosine with the old row is below 0.3. <b>signs</b>: weights that patch and update change in opposite directions. <b>drift in, "
        + "out</b>: how far the weights moved on what the patch reads and writes. <b>overlap</b>: 1 if the update treats the patch’s "
        + "directions like any others. <b>weight</b>: above 1 if the patch works along the weights’ leading directions. <b>rounded "
        + "away</b>: changed weights that rounding leaves as they were. – is not known.</p>\n");
    table.add("<div class=\"scroll all\" tabindex=\"0\" role=\"group\" aria-label=\"All tensors\"><table class=\"num tensors\"><thead><tr>"
        + "<th scope=\"col\">tensor</th>");
    for (String column : COLUMNS) {
      table.add("<th scope=\"col\">{}</th>", column);
    }
    table.add("</tr></thead><tbody>\n");
    row(table, report.total(), " class=\"sum\"");
    row(table, report.patched(), " class=\"sum\"");
    report.tensors().forEach(tensor -> row(table, tensor, ""));
    return table.add("</tbody></table></div>\n</section>\n");
  }

  private static void row(Markup table, TensorReport tensor, String style) {
    table.add("<tr" + style + "><th scope=\"row\">{}</th>", Markup.shortened(tensor.name(), Markup.LONGEST));
    cells(
        table,
        Numbers.count(tensor.elements()),
        tensor.update().map(update -> Numbers.inPercent(update.drift())).orElse(Numbers.UNKNOWN),
        tensor.update().map(update -> Numbers.inPercent(update.spread())).orElse(Numbers.UNKNOWN),
        tensor.update().map(update -> Numbers.of(update.cosine())).orElse(Numbers.UNKNOWN),
        tensor.update().map(update -> percent(update.displacedRows())).orElse(Numbers.UNKNOWN));
    tensor.change().ifPresentOrElse(
        change -> changed(table, change, tensor.meeting()),
        () -> table.add("<td colspan=\"13\" class=\"word\">not changed</td>"));
    cells(table, Numbers.count(tensor.nonFinite()));
    table.add("</tr>\n");
  }

  private static void changed(Markup table, Change change, Optional<Meeting> meeting) {
    cells(
        table,
        Numbers.inPercent(change.relative()),
        meeting.map(found -> Numbers.of(found.ratio())).orElse(Numbers.UNKNOWN),
        meeting.map(found -> Numbers.of(found.cosine())).orElse(Numbers.UNKNOWN),
        of(meeting, Meeting::signConflicts),
        of(meeting, Meeting::weightedSignConflicts),
        meeting.map(found -> percent(found.inputDrift())).orElse(Numbers.UNKNOWN),
        meeting.map(found -> percent(found.outputDrift())).orElse(Numbers.UNKNOWN),
        of(meeting, Meeting::inputOverlap),
        of(meeting, Meeting::outputOverlap),
        of(meeting, Meeting::inputWeight),
        of(meeting, Meeting::outputWeight),
        Numbers.count(change.rounding().vanished()),
        Numbers.count(change.rounding().overflowed()));
  }

  private static void cells(Markup table, String... figures) {
    for (String figure : figures) {
      table.add("<td>{}</td>", figure);
    }
  }

  private static String of(Optional<Meeting> meeting, Function<Meeting, OptionalDouble> figure) {
    return meeting.map(found -> Numbers.of(figure.apply(found))).orElse(Numbers.UNKNOWN);
  }

  private static String percent(OptionalDouble value) {
    return value.isPresent() ? Numbers.inPercent(value.getAsDouble()) : Numbers.UNKNOWN;
  }
}
