package io.portllm.internal.portability.page;

import io.portllm.Rounding;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorReport.Meeting;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/** Where the patch lives and what the update moved, by layer and module. */
final class LayerSection {
  /** Stacks that are drawn, those of most tensors first; the others are in the table with what is outside layers. */
  private static final int MOST_STACKS = 6;

  /** Tensors outside layers that are listed here; all are in the table at the end. */
  private static final int MOST_OTHERS = 80;

  /** Rounding losses are shown on an axis that goes up to this at least, so that next to nothing looks like it. */
  private static final double LEAST_LOSS = 0.001;

  private final PortabilityReport report;
  private final boolean hasUpdate;
  private final boolean hasChange;

  private LayerSection(PortabilityReport report) {
    this.report = report;
    this.hasUpdate = report.tensors().stream().anyMatch(tensor -> tensor.update().isPresent());
    this.hasChange = report.tensors().stream().anyMatch(tensor -> tensor.change().isPresent());
  }

  static Markup of(PortabilityReport report) {
    return new LayerSection(report).write();
  }

  private Markup write() {
    Markup section = new Markup();
    section.add("<section>\n<h2>Where the patch lives, and what the update moved</h2>\n");
    if (!hasUpdate) {
      section.add("<p>Nothing is known of the old weights, so what the update moved cannot be shown.</p>\n");
    }
    List<Stack> stacks = Stack.of(report.tensors());
    List<Stack> drawn = stacks.subList(0, Math.min(MOST_STACKS, stacks.size()));
    if (hasUpdate || hasChange) {
      for (Stack stack : drawn) {
        if (stacks.size() > 1) {
          section.add("<h3>Layers of {}</h3>\n", Markup.name(stack.name()));
        }
        section.add("{}{}", maps(stack), charts(stack));
      }
      section.add("{}", others(drawn));
    }
    return section.add("</section>\n");
  }

  private Markup maps(Stack stack) {
    List<Group> cells = stack.cells();
    Scale sizes = Scale.sizes(cells.stream().flatMapToDouble(cell -> Stream.of(cell.patch(), cell.drift()).flatMapToDouble(
        OptionalDouble::stream)));
    HeatMap map = new HeatMap(stack);
    Markup maps = new Markup();
    maps.add("<div class=\"{}\">\n", map.isLong() ? "maps long" : "maps");
    if (hasChange) {
      figure(maps, map.draw("Size of the patch by layer and module", "Each cell is a module of a layer; darker means a larger patch "
          + "relative to the weights.", Group::patch, sizes, Numbers::percent),
          "Patch ‖Δ‖ / ‖θ′‖", "how large the patch is next to the weights", sizes);
    }
    if (hasUpdate) {
      figure(maps, map.draw("Drift by layer and module", "Each cell is a module of a layer; darker means that the update moved it more.",
          Group::drift, sizes, Numbers::percent),
          "Update ‖U‖ / ‖θ‖", "how far the update moved the weights; the same colours as the patch", sizes);
    }
    if (cells.stream().anyMatch(cell -> cell.cosine().isPresent())) {
      figure(maps, map.draw("Cosine of patch and update by layer and module", "Each cell is a module of a layer; warm colours mean that "
          + "patch and update contradict each other.", Group::cosine, Scale.COSINES, value -> Numbers.fixed(value, 4)),
          "cos(Δ, U)", "whether the update went the patch’s way (above 0) or against it; unrelated changes have about 0", Scale.COSINES);
    }
    if (cells.stream().anyMatch(cell -> cell.overlap().isPresent())) {
      figure(maps, map.draw("Overlap of patch and update by layer and module", "Each cell is a module of a layer; warm colours mean that "
          + "the update acts on the directions that the patch uses more than on others.", Group::overlap, Scale.OVERLAPS, Numbers::of),
          "Overlap", "how much the update acts on the inputs or outputs that the patch uses, whichever is more; 1 is by chance",
          Scale.OVERLAPS);
    }
    maps.add("</div>\n");
    map.left().forEach(sentence -> maps.add("<p class=\"note\">{}</p>\n", sentence));
    if (cells.stream().anyMatch(cell -> cell.tensors().size() > 1)) {
      maps.add("<p class=\"note\">A * stands for any number: such modules, experts for instance, share a cell. Norms are taken together; "
          + "of overlaps the median is shown.</p>\n");
    }
    return maps.add("<p class=\"note\">Of empty cells, the patch does not change the weights, or nothing is known. "
        + "The table at the end has every tensor’s figures.</p>\n");
  }

  private static void figure(Markup maps, Markup picture, String name, String meaning, Scale scale) {
    maps.add("<figure><figcaption><b>{}</b>: {}</figcaption>{}<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{}\">{}"
        + "</div></figure>\n", name, meaning, scale.legend("Colours of " + name), name, picture);
  }

  private Markup charts(Stack stack) {
    List<String> layers = stack.layers().keySet().stream().map(String::valueOf).toList();
    Collection<Group> groups = stack.layers().values();
    Markup charts = new Markup();
    charts.add("<div class=\"charts\">\n");
    double[] patch = figures(groups, Group::patch);
    double[] drift = figures(groups, Group::drift);
    Plot sizes = Plot.ofShares(
        layers, Stream.of(DoubleStream.of(0), DoubleStream.of(patch), DoubleStream.of(drift)).flatMapToDouble(part -> part));
    chart(charts, sizes.line("a", "update ‖U‖ / ‖θ‖", drift).line("b", "patch ‖Δ‖ / ‖θ′‖", patch)
        .draw("Drift and patch by layer", "Two lines over the layers: how far the update moved the weights, and how large the patch is.",
            "layer"), "Drift and patch by layer, all tensors of a layer taken together.");
    spreads(charts, stack, layers, Meeting::inputOverlap, Meeting::outputOverlap, "inputs", "outputs", 1, "by chance",
        "Overlap of patch and update by layer", "Median over the layer’s tensors, strokes from the least to the greatest.");
    spreads(charts, stack, layers, Meeting::signConflicts, Meeting::weightedSignConflicts, "counted", "weighted with |Δ|", 0.5, "by chance",
        "Sign conflicts by layer", "The part of the weights changed by both that they change in opposite directions: median over the "
            + "layer’s tensors, strokes from the least to the greatest.");
    double[] vanished = figures(groups, Group::vanished);
    if (report.storage().isEmpty() && DoubleStream.of(vanished).anyMatch(value -> !Double.isNaN(value))) {
      Plot losses = Plot.ofShares(layers, DoubleStream.concat(DoubleStream.of(0, LEAST_LOSS), DoubleStream.of(vanished)));
      chart(charts, losses.bars("a", "changes that rounding swallows", vanished)
          .draw("Rounding losses by layer", "Bars over the layers: the part of the changed weights that rounding leaves as they were.",
              "layer"), rounding(report.patched().change().map(TensorReport.Change::rounding).orElse(Rounding.NONE)));
    }
    return charts.add("</div>\n{}", figures(stack));
  }

  private static String rounding(Rounding rounding) {
    return "Rounding to the new base’s type leaves " + Numbers.count(rounding.vanished()) + " of " + Numbers.count(rounding.touched())
        + " changed weights of the model as they were"
        + (rounding.overflowed() > 0 ? "; " + Numbers.count(rounding.overflowed()) + " would leave the type’s range" : "") + ".";
  }

  private static void spreads(
      Markup charts,
      Stack stack,
      List<String> layers,
      Function<Meeting, OptionalDouble> first,
      Function<Meeting, OptionalDouble> second,
      String firstName,
      String secondName,
      double rule,
      String ruleName,
      String title,
      String caption) {
    List<Group.Spread> firsts = stack.layers().values().stream().map(group -> group.spread(first)).toList();
    List<Group.Spread> seconds = stack.layers().values().stream().map(group -> group.spread(second)).toList();
    if (firsts.stream().allMatch(Objects::isNull) && seconds.stream().allMatch(Objects::isNull)) {
      return;
    }
    DoubleStream values = Stream.concat(firsts.stream(), seconds.stream()).filter(Objects::nonNull)
        .flatMapToDouble(spread -> DoubleStream.of(spread.least(), spread.greatest(), rule));
    Plot plot = Plot.ofNumbers(layers, values);
    plot.ranges("a", firsts).ranges("b", seconds)
        .line("a", firstName, medians(firsts)).line("b", secondName, medians(seconds)).rule(rule, ruleName);
    chart(charts, plot.draw(title, caption, "layer"), title + ". " + caption);
  }

  private static double[] medians(List<Group.Spread> spreads) {
    return spreads.stream().mapToDouble(spread -> spread == null ? Double.NaN : spread.median()).toArray();
  }

  private static double[] figures(Collection<Group> groups, Function<Group, OptionalDouble> figure) {
    ToDoubleFunction<Group> known = group -> figure.apply(group).orElse(Double.NaN);
    return groups.stream().mapToDouble(known).toArray();
  }

  private static void chart(Markup charts, Markup picture, String caption) {
    charts.add("<figure>{}<figcaption>{}</figcaption></figure>\n", picture, caption);
  }

  /** The charts' figures as a table. */
  private static Markup figures(Stack stack) {
    Markup table = new Markup();
    table.add("<details><summary>Figures by layer</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" "
        + "aria-label=\"Figures by layer\"><p class=\"note\">Squares and products of a layer’s tensors are taken together. Overlaps and "
        + "conflicts are medians over them, with the least and the greatest.</p>"
        + "<table class=\"num\"><thead><tr><th scope=\"col\">Layer</th>"
        + "<th scope=\"col\">Update %</th><th scope=\"col\">Patch %</th><th scope=\"col\">cos(Δ, U)</th>"
        + "<th scope=\"col\">Overlap in</th><th scope=\"col\">Overlap out</th><th scope=\"col\">Sign conflicts</th>"
        + "<th scope=\"col\">weighted</th><th scope=\"col\">Rounded away %</th></tr></thead><tbody>\n");
    stack.layers().forEach((layer, group) -> table.add(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        layer, percent(group.drift()), percent(group.patch()), Numbers.fixed(group.cosine(), 4),
        median(group.spread(Meeting::inputOverlap)), median(group.spread(Meeting::outputOverlap)),
        median(group.spread(Meeting::signConflicts)), median(group.spread(Meeting::weightedSignConflicts)), percent(group.vanished())));
    return table.add("</tbody></table></div></details>\n");
  }

  private static String percent(OptionalDouble value) {
    return value.isPresent() ? Numbers.inPercent(value.getAsDouble()) : Numbers.UNKNOWN;
  }

  private static String median(Group.Spread spread) {
    if (spread == null) {
      return Numbers.UNKNOWN;
    }
    String median = Numbers.of(spread.median());
    return spread.least() == spread.greatest()
        ? median
        : median + " (" + Numbers.of(spread.least()) + " to " + Numbers.of(spread.greatest()) + ")";
  }

  /** Tensors that no picture shows. */
  private Markup others(List<Stack> drawn) {
    Set<String> shown = new HashSet<>();
    drawn.forEach(stack -> shown.add(stack.name()));
    List<TensorReport> others = new ArrayList<>();
    for (TensorReport tensor : report.tensors()) {
      if (Stack.start(tensor).filter(shown::contains).isEmpty()) {
        others.add(tensor);
      }
    }
    Markup table = new Markup();
    if (others.isEmpty()) {
      return table;
    }
    table.add("<h3>Outside layers</h3>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Tensors outside layers\">"
        + "<table class=\"num\"><thead><tr><th scope=\"col\">Tensor</th><th scope=\"col\">Update %</th><th scope=\"col\">Patch %</th>"
        + "<th scope=\"col\">cos(Δ, U)</th><th scope=\"col\">Overlap in</th><th scope=\"col\">Overlap out</th></tr></thead><tbody>\n");
    for (TensorReport tensor : others.subList(0, Math.min(MOST_OTHERS, others.size()))) {
      Group group = new Group(List.of(tensor));
      table.add("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
          Markup.name(tensor.name()), percent(group.drift()), group.patch().isPresent() ? percent(group.patch()) : "not changed",
          Numbers.fixed(group.cosine(), 4), median(group.spread(Meeting::inputOverlap)), median(group.spread(Meeting::outputOverlap)));
    }
    table.add("</tbody></table></div>\n");
    return others.size() <= MOST_OTHERS
        ? table
        : table.add("<p class=\"note\">{} more are in the table at the end.</p>\n", others.size() - MOST_OTHERS);
  }
}
