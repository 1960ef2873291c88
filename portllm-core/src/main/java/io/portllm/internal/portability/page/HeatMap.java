package io.portllm.internal.portability.page;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Function;

/** A figure of every module of every layer as a picture. */
final class HeatMap {
  private static final int ROW = 18;
  private static final int TOP = 6;
  private static final int BOTTOM = 36;

  /** The width of a letter of a label. */
  private static final double LETTER = 6.4;

  private static final int LONGEST_LABEL = 34;

  /** From this width on, cells hold their figures. */
  private static final int WITH_FIGURES = 56;

  /** Wider pictures do not stand side by side. */
  private static final int HALF_PAGE = 535;

  private static final Set<String> MIDDLE = Set.of("s4", "c2", "w2");
  private static final Set<String> STRONG = Set.of("s5", "s6", "s7", "c3", "w3");

  /** More layers or modules are not drawn. */
  static final int MOST_LAYERS = 400;

  static final int MOST_MODULES = 60;

  private final Stack stack;
  private final List<Integer> layers;
  private final List<String> modules;
  private final int left;
  private final int column;

  HeatMap(Stack stack) {
    this.stack = stack;
    this.layers = stack.layers().keySet().stream().limit(MOST_LAYERS).toList();
    this.modules = stack.modules().keySet().stream().limit(MOST_MODULES).toList();
    int longest = modules.stream().mapToInt(module -> Math.min(LONGEST_LABEL, module.length())).max().orElse(0);
    this.left = (int) (longest * LETTER) + 12;
    int count = layers.size();
    this.column = count <= 6 ? 56 : count <= 12 ? 26 : count <= 20 ? 18 : count <= 32 ? 11 : count <= 48 ? 9 : 7;
  }

  private int width() {
    return left + column * layers.size() + 8;
  }

  /** Whether the picture needs the whole width of a page. */
  boolean isLong() {
    return width() > HALF_PAGE;
  }

  /** The picture. Cells without a figure are empty. */
  Markup draw(
      String title, String description, Function<Group, OptionalDouble> figure, Scale scale, Function<Double, String> text) {
    int height = TOP + ROW * modules.size() + BOTTOM;
    Markup svg = new Markup();
    svg.add("<svg class=\"heat w{}\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\">",
        column, width(), height, width(), height);
    svg.add("<title>{}</title><desc>{}</desc>", title, description);
    for (int row = 0; row < modules.size(); row++) {
      String module = modules.get(row);
      int y = TOP + row * ROW;
      svg.add("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>", left - 6, y + 13, Markup.shortened(module, LONGEST_LABEL));
      svg.add("<g transform=\"translate({} {})\">", left, y);
      cells(svg, module, figure, scale, text);
      svg.add("</g>\n");
    }
    axis(svg, TOP + ROW * modules.size());
    return svg.add("</svg>");
  }

  private void cells(
      Markup svg, String module, Function<Group, OptionalDouble> figure, Scale scale, Function<Double, String> text) {
    Map<Integer, Group> groups = stack.modules().get(module);
    for (int i = 0; i < layers.size(); i++) {
      Group group = groups.get(layers.get(i));
      if (group == null) {
        continue;
      }
      OptionalDouble value = figure.apply(group);
      boolean known = value.isPresent() && !Double.isNaN(value.getAsDouble());
      if (!known) {
        svg.add("<rect class=\"none\" x=\"{}\"/>", i * column);
        continue;
      }
      String colour = scale.classOf(value.getAsDouble());
      String together = group.tensors().size() > 1 ? " (" + group.tensors().size() + " tensors)" : "";
      String shown = text.apply(value.getAsDouble());
      svg.add(
          "<rect class=\"{}\" x=\"{}\"><title>{} {}{}: {}</title></rect>",
          colour, i * column, layers.get(i), Markup.shortened(module, LONGEST_LABEL), together, shown);
      if (column >= WITH_FIGURES) {
        String ink = MIDDLE.contains(colour) ? "on1" : STRONG.contains(colour) ? "on2" : "on0";
        svg.add("<text class=\"mid {}\" x=\"{}\" y=\"13\" aria-hidden=\"true\">{}</text>", ink, i * column + column / 2, shown);
      }
    }
  }

  private void axis(Markup svg, int y) {
    int every = every(layers.size(), column);
    for (int i = 0; i < layers.size(); i += every) {
      svg.add("<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>", Numbers.at(left + (i + 0.5) * column), y + 14, layers.get(i));
    }
    svg.add("<text class=\"mid\" x=\"{}\" y=\"{}\">layer</text>", Numbers.at(left + layers.size() * column / 2.0), y + 30);
  }

  /** Between how many places labels of up to three digits stand. */
  static int every(int places, double wide) {
    for (int step : List.of(1, 2, 5, 10, 20, 50, 100, 200, 500)) {
      if (step * wide >= 24) {
        return step;
      }
    }
    return Math.max(1, places);
  }

  /** What was left out of the pictures, in sentences. */
  List<String> left() {
    List<String> left = new ArrayList<>();
    if (stack.layers().size() > layers.size()) {
      left.add("The pictures show the first " + layers.size() + " of " + stack.layers().size() + " layers.");
    }
    if (stack.modules().size() > modules.size()) {
      left.add("The pictures show the first " + modules.size() + " of " + stack.modules().size() + " modules.");
    }
    return left;
  }
}
