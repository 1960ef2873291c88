package io.portllm.internal.portability.page;

import java.util.List;
import java.util.function.DoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** A small chart: figures over layers, releases or scales. */
final class Plot {
  private static final int WIDTH = 460;
  private static final int HEIGHT = 230;
  private static final int LEFT = 58;
  private static final int RIGHT = 14;
  private static final int TOP = 28;
  private static final int BOTTOM = 42;

  /** Above this many points, they are joined and not marked. */
  private static final int MARKED = 40;

  /** Up to this many places, each is named. */
  private static final int FEW = 14;

  /** The width of a letter. */
  private static final double LETTER = 7.2;

  private final List<String> places;
  private final double[] positions;
  private final DoubleFunction<String> label;
  private final DoubleFunction<String> ticks;
  private final double low;
  private final double high;
  private final double step;
  private final Markup body = new Markup();
  private int named;

  /**
   * A chart with a place for each of {@code places} and an axis that holds {@code values}.
   *
   * @param positions where the places stand, from 0 to their number less 1
   * @param label how figures are written
   * @param ticks how ticks are written
   */
  private Plot(
      List<String> places, double[] positions, DoubleStream values, DoubleFunction<String> label, DoubleFunction<String> ticks) {
    this.places = places;
    this.positions = positions;
    this.label = label;
    this.ticks = ticks;
    double[] finite = values.filter(Double::isFinite).toArray();
    double least = DoubleStream.of(finite).min().orElse(0);
    double greatest = DoubleStream.of(finite).max().orElse(1);
    this.step = step(least, greatest);
    this.low = Math.floor(least / step + 1e-9) * step;
    this.high = Math.max(Math.ceil(greatest / step - 1e-9) * step, low + step);
  }

  /** A chart with a place for each of {@code places} and an axis of shares that holds {@code values}. */
  static Plot ofShares(List<String> places, DoubleStream values) {
    return new Plot(places, evenly(places), values, Numbers::percent, Numbers::percentTick);
  }

  /** A chart with a place for each of {@code places} and an axis of numbers that holds {@code values}. */
  static Plot ofNumbers(List<String> places, DoubleStream values) {
    return new Plot(places, evenly(places), values, Numbers::of, Numbers::tick);
  }

  /** A chart of figures from 0 to 1 at numbers, which rise. */
  static Plot at(double[] numbers) {
    List<String> places = DoubleStream.of(numbers).mapToObj(Numbers::tick).toList();
    double first = numbers[0];
    double range = numbers[numbers.length - 1] - first;
    double[] positions = DoubleStream.of(numbers).map(number -> range > 0 ? (number - first) / range * (numbers.length - 1) : 0).toArray();
    return new Plot(places, positions, DoubleStream.of(0, 1), Numbers::of, Numbers::tick);
  }

  private static double[] evenly(List<String> places) {
    return IntStream.range(0, places.size()).asDoubleStream().toArray();
  }

  /** About five ticks, in steps of 1, 2 or 5. */
  private static double step(double least, double greatest) {
    double raw = (greatest > least ? greatest - least : Math.max(Math.abs(greatest), 1e-12)) / 5;
    double power = Math.pow(10, Math.floor(Math.log10(raw)));
    for (double digit : new double[] {1, 2, 5}) {
      if (raw <= digit * power * (1 + 1e-9)) {
        return digit * power;
      }
    }
    return 10 * power;
  }

  private double x(int place) {
    return LEFT + (positions[place] + 0.5) * (WIDTH - LEFT - RIGHT) / places.size();
  }

  private double y(double value) {
    double clamped = Math.max(low, Math.min(high, value));
    return HEIGHT - BOTTOM - (clamped - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
  }

  /** A line through the figures of each place; NaN where there is none. Styles are a, b and c. */
  Plot line(String style, String name, double[] values) {
    StringBuilder path = new StringBuilder();
    Markup marks = new Markup();
    boolean pen = false;
    for (int i = 0; i < values.length; i++) {
      if (Double.isNaN(values[i])) {
        pen = false;
        continue;
      }
      path.append(pen ? 'L' : 'M').append(Numbers.at(x(i))).append(' ').append(Numbers.at(y(values[i])));
      pen = true;
      if (values.length <= MARKED) {
        mark(marks, style, i, values[i], name);
      }
    }
    body.add("<path class=\"line {}\" d=\"{}\"/>{}", style, path, marks);
    return key(style, name);
  }

  private void mark(Markup marks, String style, int place, double value, String name) {
    String x = Numbers.at(x(place));
    String y = Numbers.at(y(value));
    String shape = style.equals("b")
        ? "<rect class=\"dot b\" x=\"" + Numbers.at(x(place) - 3.5) + "\" y=\"" + Numbers.at(y(value) - 3.5)
            + "\" width=\"7\" height=\"7\">"
        : "<circle class=\"dot " + style + "\" cx=\"" + x + "\" cy=\"" + y + "\" r=\"3.5\">";
    String end = style.equals("b") ? "</rect>" : "</circle>";
    marks.add(shape + "<title>{}, {}: {}</title>" + end, name, places.get(place), label.apply(value));
  }

  /** Bars from the bottom; NaN where there is none. */
  Plot bars(String style, String name, double[] values) {
    double wide = Math.max(1.5, (WIDTH - LEFT - RIGHT) / (double) places.size() * 0.7);
    for (int i = 0; i < values.length; i++) {
      if (!Double.isNaN(values[i])) {
        body.add(
            "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}: {}</title></rect>",
            style, Numbers.at(x(i) - wide / 2), Numbers.at(y(values[i])), Numbers.at(wide), Numbers.at(y(low) - y(values[i])),
            places.get(i), label.apply(values[i]));
      }
    }
    return key(style, name);
  }

  /** At each place a stroke from the least to the greatest figure. */
  Plot ranges(String style, List<Group.Spread> spreads) {
    for (int i = 0; i < spreads.size(); i++) {
      Group.Spread spread = spreads.get(i);
      if (spread != null) {
        double shift = style.equals("b") ? 2 : -2;
        boolean few = places.size() <= MARKED;
        String x = Numbers.at(x(i) + (few ? shift : 0));
        body.add(
            "<line class=\"range {}{}\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
            style, few ? "" : " thin", x, x, Numbers.at(y(spread.least())), Numbers.at(y(spread.greatest())));
      }
    }
    return this;
  }

  /** A stroke through the whole chart at a figure that means something. */
  Plot rule(double value, String name) {
    if (value >= low && value <= high) {
      String y = Numbers.at(y(value));
      body.add("<line class=\"rule\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", LEFT, WIDTH - RIGHT, y, y);
      body.add("<text class=\"rule\" x=\"{}\" y=\"{}\">{}</text>", LEFT + 6, Numbers.at(y(value) - 4), name);
    }
    return this;
  }

  /** A word above a place. */
  Plot note(int place, double value, String word) {
    body.add("<text class=\"mid note\" x=\"{}\" y=\"{}\">{}</text>", Numbers.at(x(place)), Numbers.at(y(value) - 9), word);
    return this;
  }

  private Plot key(String style, String name) {
    int x = LEFT + named * 190;
    named++;
    body.add("<path class=\"line {}\" d=\"M{} 12h22\"/><text x=\"{}\" y=\"16\">{}</text>", style, x, x + 28, name);
    return this;
  }

  /**
   * How many there are of each place, as bars with their counts on them.
   *
   * @param places the upper end of each bar
   */
  static Markup histogram(List<String> places, double[] counts, String title) {
    Plot plot = ofNumbers(places, DoubleStream.concat(DoubleStream.of(0, 4), DoubleStream.of(counts)));
    plot.bars("a", "tensors", counts);
    for (int i = 0; i < counts.length; i++) {
      if (counts[i] > 0) {
        plot.note(i, counts[i], Numbers.count((long) counts[i]));
      }
    }
    return plot.draw(title, "Bars over ranges of the cosine: how many tensors are in each.", "cosine, up to");
  }

  /** The chart, with {@code below} under its axis. */
  Markup draw(String title, String description, String below) {
    Markup svg = new Markup();
    svg.add("<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\"><title>{}</title><desc>{}</desc>", WIDTH, HEIGHT, title, description);
    int ticks = (int) Math.round((high - low) / step);
    for (int i = 0; i <= ticks; i++) {
      double value = low + i * step;
      String y = Numbers.at(y(value));
      svg.add("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", LEFT, WIDTH - RIGHT, y, y);
      svg.add("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>", LEFT - 6, Numbers.at(y(value) + 4), tick(value));
    }
    places(svg);
    svg.add("<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, below);
    return svg.add("{}</svg>", body);
  }

  /** Names of places: all of a few, shortened to fit, or of many as many as fit. */
  private void places(Markup svg) {
    double wide = (WIDTH - LEFT - RIGHT) / (double) places.size();
    int longest = places.stream().mapToInt(String::length).max().orElse(1);
    boolean few = places.size() <= FEW;
    int every = few ? 1 : (int) Math.ceil((longest * LETTER + 8) / wide);
    double free = 0;
    for (int i = 0; i < places.size(); i += every) {
      if (x(i) < free) {
        continue;
      }
      free = x(i) + Math.min(wide, LETTER * 3);
      String place = few ? Markup.shortened(places.get(i), Math.max(3, (int) (wide / LETTER))) : places.get(i);
      svg.add("<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>", Numbers.at(x(i)), HEIGHT - BOTTOM + 16, place);
    }
  }

  /** Ticks are sums of steps: rounded to what the step shows. */
  private String tick(double value) {
    return ticks.apply(Math.abs(value) < step / 2 ? 0 : Math.round(value / step * 1000) / 1000.0 * step);
  }
}
