package io.portllm.internal.portability.page;

import com.google.common.primitives.ImmutableDoubleArray;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleFunction;
import java.util.stream.DoubleStream;

/**
 * Colours for figures, in classes, so that each colour has its range in the legend. The style sheet has the colours; they differ in
 * lightness, and so for those too who see no hues.
 *
 * @param limits where the next class begins; a value on a limit is in the class above
 * @param classes the names of the classes in the style sheet, one more than limits
 * @param label how limits are written
 */
record Scale(ImmutableDoubleArray limits, List<String> classes, DoubleFunction<String> label) {
  /** Classes of the scale of sizes. */
  private static final int SIZES = 8;

  private static final List<String> COOL_TO_WARM = List.of("c3", "c2", "c1", "n", "w1", "w2", "w3");
  private static final List<String> WARM_TO_COOL = List.of("w3", "w2", "w1", "n", "c1", "c2", "c3");

  /** Cosines: warm colours where patch and update contradict each other. */
  static final Scale COSINES =
      new Scale(ImmutableDoubleArray.of(-0.5, -0.2, -0.05, 0.05, 0.2, 0.5), WARM_TO_COOL, Numbers::tick);

  /** Overlaps, of which 1 is by chance: warm colours where the update acts on what the patch uses more than elsewhere. */
  static final Scale OVERLAPS =
      new Scale(ImmutableDoubleArray.of(0.25, 0.5, 0.8, 1.25, 2, 4), COOL_TO_WARM, Numbers::tick);

  /** A scale of sizes up to the greatest of {@code values}, in steps of 1, 2, 5, 10. */
  static Scale sizes(DoubleStream values) {
    double greatest = values.filter(value -> Double.isFinite(value) && value > 0).max().orElse(1);
    int step = 0;
    // Steps are counted from 10^-12, three to a decade, so that limits are the same doubles on every way to them.
    while (step < 60 && step(step) < greatest) {
      step++;
    }
    List<String> classes = new ArrayList<>();
    double[] limits = new double[SIZES - 1];
    for (int i = 0; i < SIZES; i++) {
      classes.add("s" + i);
      if (i > 0) {
        limits[i - 1] = step(step - SIZES + i);
      }
    }
    return new Scale(ImmutableDoubleArray.copyOf(limits), classes, Numbers::percentTick);
  }

  private static double step(int number) {
    int decade = Math.floorDiv(number, 3) - 12;
    double digit = new double[] {1, 2, 5}[Math.floorMod(number, 3)];
    return Double.parseDouble(digit + "e" + decade);
  }

  /** The class of {@code value}. */
  String classOf(double value) {
    int at = 0;
    while (at < limits.length() && value >= limits.get(at)) {
      at++;
    }
    return classes.get(at);
  }

  /** The scale as a strip of colours with their limits. */
  Markup legend(String title) {
    int wide = 46;
    int width = wide * classes.size() + 20;
    Markup svg = new Markup();
    svg.add("<svg class=\"legend\" width=\"{}\" height=\"34\" viewBox=\"0 0 {} 34\" role=\"img\">", width, width);
    svg.add("<title>{}</title>", title);
    for (int i = 0; i < classes.size(); i++) {
      svg.add("<rect class=\"{}\" x=\"{}\" y=\"2\" width=\"{}\" height=\"12\"/>", classes.get(i), 10 + i * wide, wide - 1);
    }
    for (int i = 0; i < limits.length(); i++) {
      String x = Numbers.at(10 + (i + 1) * wide - 0.5);
      svg.add("<text class=\"mid\" x=\"{}\" y=\"28\">{}</text>", x, label.apply(limits.get(i)));
    }
    return svg.add("</svg>");
  }
}
