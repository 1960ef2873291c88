package io.portllm.internal.portability.page;

import io.portllm.DType;
import io.portllm.Rounding;
import io.portllm.portability.Finding;
import io.portllm.portability.Finding.Severity;
import io.portllm.portability.Lineage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.PortabilityReport.Evidence;
import io.portllm.portability.Storage;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorReport.Update;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** What was compared, what was found about structure, and what speaks for a common lineage. */
final class EvidenceSection {
  /** Bars of the histogram for each 1 of cosine, where the first begins, and how many there are. */
  private static final int IN_ONE = 20;
  private static final int LOWEST = -4;
  private static final int BINS = IN_ONE - LOWEST;

  /** Tensors listed, those that resemble the old ones least. */
  private static final int LISTED = 5;

  private EvidenceSection() {}

  static Markup compared(PortabilityReport report, Optional<String> oldFingerprint, Optional<String> newFingerprint) {
    long patched = report.tensors().stream().filter(tensor -> tensor.change().isPresent()).count();
    Markup section = new Markup();
    section.add("<section>\n<h2>What was compared</h2>\n<table class=\"facts\"><tbody>\n");
    row(section, "Patch Δ", Markup.name(report.patch()), "changes " + Numbers.count(patched) + " of the new base’s "
        + Numbers.count(report.tensors().size()) + " tensors, " + Numbers.count(report.patched().elements()) + " of "
        + Numbers.count(report.total().elements()) + " weights");
    row(section, "Old base θ", report.oldBase().map(Markup::name).orElse(new Markup().add("unknown")), switch (report.evidence()) {
      case WEIGHTS -> "all its weights were read";
      case SKETCHES -> "judged by the sketches in the patch file: drifts and cosines are estimates";
      case NONE -> "nothing but names and shapes was known of it";
    });
    oldFingerprint.ifPresent(digest -> fingerprint(section, digest));
    row(section, "New base θ′", Markup.name(report.newBase()), "all its weights were read");
    newFingerprint.ifPresent(digest -> fingerprint(section, digest));
    report.storage().ifPresent(storage -> row(section, "Stored as",
        new Markup().add("{}", storage.types().stream().map(DType::name).collect(Collectors.joining(", "))), stored(storage)));
    return section.add("</tbody></table>\n</section>\n");
  }

  private static String stored(Storage storage) {
    Rounding rounding = storage.rounding();
    Storage.Blocks blocks = storage.quantised();
    return "by a seeded sample of " + Numbers.count(storage.sampled()) + " of " + Numbers.count(storage.weights()) + " weights in "
        + Numbers.count(storage.tensors()) + " changed tensors, stored anew: "
        + Numbers.percent(rounding.touched() == 0 ? 0 : (double) rounding.vanished() / rounding.touched())
        + " of the changed weights stay as they were"
        + (blocks.blocks() == 0 ? "" : ", " + Numbers.percent((double) blocks.unchanged() / blocks.blocks()) + " of the blocks keep their "
            + "bytes, " + Numbers.percent(blocks.kept()) + " of the change is kept, and quantising adds an error of "
            + Numbers.of(blocks.error()) + " times the change");
  }

  private static void row(Markup section, String name, Markup what, String more) {
    section.add("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n", name, what, more);
  }

  private static void fingerprint(Markup section, String digest) {
    section.add("<tr><th scope=\"row\">fingerprint</th><td colspan=\"2\"><code>{}</code></td></tr>\n", digest);
  }

  static Markup findings(List<Finding> findings) {
    Markup section = new Markup();
    section.add("<section>\n<h2>Structure</h2>\n");
    if (findings.isEmpty()) {
      return section.add("<p>Nothing to report: the patch fits, and names, shapes, types, tying and the settings that were known agree.</p>"
          + "\n</section>\n");
    }
    section.add("<table class=\"findings\"><thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Finding</th></tr></thead><tbody>\n");
    for (Finding finding : findings) {
      section.add("<tr class=\"{}\"><th scope=\"row\">{}</th><td>{}</td></tr>\n",
          style(finding.severity()), name(finding.severity()), finding.what());
    }
    return section.add("</tbody></table>\n</section>\n");
  }

  private static String style(Severity severity) {
    return switch (severity) {
      case BLOCKING -> "f0";
      case WARNING -> "f1";
      case NOTE -> "f2";
    };
  }

  private static String name(Severity severity) {
    return switch (severity) {
      case BLOCKING -> "■ blocking";
      case WARNING -> "▲ warning";
      case NOTE -> "○ note";
    };
  }

  static Markup lineage(PortabilityReport report) {
    Lineage lineage = report.lineage();
    Markup section = new Markup();
    section.add("<section>\n<h2>Lineage</h2>\n<p>{}</p>\n", meaning(lineage.kind()));
    section.add("<div class=\"pair\"><div>\n<table class=\"facts\"><tbody>\n");
    row(section, "Conclusion", new Markup().add("{}", word(lineage.kind())), "");
    row(section, "Compared", new Markup().add("{}", Numbers.count(lineage.compared())), "tensors");
    row(section, "Identical", new Markup().add("{}", Numbers.count(lineage.identical())), "to the bit");
    row(section, "Cosine", new Markup().add("{}", Numbers.fixed(lineage.cosine(), 4)), "of old and new weights, all tensors together");
    row(section, "Least", new Markup().add("{}", Numbers.fixed(lineage.leastCosine(), 4)),
        lineage.leastTensor().map(name -> "of a matrix, " + Markup.shortened(name, 60)).orElse("of a matrix"));
    row(section, "Broken", new Markup().add("{}", Numbers.percent(lineage.brokenShare())),
        "in matrices with a cosine below " + Lineage.BROKEN);
    List<TensorReport> known = report.tensors().stream().filter(tensor -> tensor.update().isPresent()).toList();
    section.add("</tbody></table>\n{}</div>\n", least(known));
    if (!known.isEmpty() && report.evidence() != Evidence.NONE) {
      section.add("<figure>{}<figcaption>Cosines of the angles between old and new tensors. A base of the same lineage has all near 1; "
          + "another training run has its matrices near 0. Vectors such as norms resemble each other in any two models and do not count."
          + "</figcaption></figure>\n", histogram(known));
    }
    return section.add("</div>\n</section>\n");
  }

  private static Markup histogram(List<TensorReport> tensors) {
    double[] counts = new double[BINS];
    for (TensorReport tensor : tensors) {
      double cosine = tensor.update().get().cosine();
      int bin = Double.isNaN(cosine) ? 0 : (int) Math.ceil(cosine * IN_ONE) - LOWEST - 1;
      counts[Math.max(0, Math.min(BINS - 1, bin))]++;
    }
    List<String> places = IntStream.range(0, BINS).mapToObj(i -> Numbers.fixed((i + 1 + LOWEST) / (double) IN_ONE, 2)).toList();
    return Plot.histogram(places, counts, "Histogram of cosines between old and new tensors");
  }

  private static Markup least(List<TensorReport> tensors) {
    Markup table = new Markup();
    if (tensors.isEmpty()) {
      return table;
    }
    table.add("<details><summary>Tensors that resemble the old ones least</summary>\n<table class=\"facts\"><thead><tr>"
        + "<th scope=\"col\">Tensor</th><th scope=\"col\">Cosine</th></tr></thead><tbody>\n");
    tensors.stream()
        .sorted(Comparator.comparingDouble((TensorReport tensor) -> tensor.update().map(Update::cosine).orElse(1.0)))
        .limit(LISTED)
        .forEach(tensor -> table.add("<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td></tr>\n",
            Markup.name(tensor.name()), Numbers.of(tensor.update().get().cosine())));
    return table.add("</tbody></table></details>\n");
  }

  private static String word(Lineage.Kind kind) {
    return switch (kind) {
      case SAME -> "same";
      case RELATED -> "related";
      case MIXED -> "mixed";
      case UNRELATED -> "unrelated";
      case UNKNOWN -> "unknown";
    };
  }

  private static String meaning(Lineage.Kind kind) {
    return switch (kind) {
      case SAME -> "The new base is the model that the patch was made on.";
      case RELATED -> "Every matrix resembles the old one: the new base was trained on from the old one.";
      case MIXED -> "Some matrices resemble the old ones, and some have nothing in common with them: they were replaced or their units "
          + "were put in another order.";
      case UNRELATED -> "The new base does not descend from the old one, or its heads or units were put in another order.";
      case UNKNOWN -> "Nothing is known of the old weights, so the lineage cannot be told.";
    };
  }
}
