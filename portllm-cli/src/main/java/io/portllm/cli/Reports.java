package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.TensorInfo;
import io.portllm.TokenReport;
import io.portllm.compress.Compressed;
import io.portllm.extract.Extract;
import io.portllm.extract.TensorExtract;
import io.portllm.extract.TensorExtract.Form;
import io.portllm.io.Requantisation;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IntSummaryStatistics;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** What was done, as text or JSON. */
final class Reports {
  private Reports() {}

  static void print(PrintWriter out, WriteReport report, boolean json) throws IOException {
    print(out, report, Optional.empty(), json);
  }

  /** What was written of a port, and which rows had no match. */
  static void printPort(PrintWriter out, WriteReport report, Optional<TokenReport> tokens, boolean json) throws IOException {
    if (json) {
      ObjectNode root = toJson(report);
      tokens.ifPresent(found -> put(root.putObject("tokens"), found));
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(root));
      out.flush();
      return;
    }
    tokens.filter(found -> !found.isSame()).ifPresent(found -> print(out, found, "the patch", "the new base"));
    print(out, report, false);
  }

  /** How two vocabularies differ. */
  static void print(PrintWriter out, TokenReport tokens, String first, String second) {
    out.printf(Locale.ROOT, "rows by token: %,d in common, %s in another row%n", tokens.common(), list(tokens.moved()));
    out.printf(Locale.ROOT, "  only in %s: %s%n", first, list(tokens.removed()));
    out.printf(Locale.ROOT, "  only in %s: %s%n", second, list(tokens.added()));
    out.flush();
  }

  private static String list(TokenReport.Tokens tokens) {
    String names = tokens.first().stream().map(Names::plain).collect(Collectors.joining(" "));
    String rest = tokens.count() > tokens.first().size() ? " ..." : "";
    return String.format(Locale.ROOT, "%,d", tokens.count()) + (names.isEmpty() ? "" : " (" + names + rest + ")");
  }

  static void put(ObjectNode node, TokenReport tokens) {
    node.put("common", tokens.common());
    put(node.putObject("moved"), tokens.moved());
    put(node.putObject("removed"), tokens.removed());
    put(node.putObject("added"), tokens.added());
  }

  private static void put(ObjectNode node, TokenReport.Tokens tokens) {
    node.put("count", tokens.count());
    tokens.first().forEach(node.putArray("first")::add);
  }

  static void print(PrintWriter out, WriteReport report, Optional<Extract> extract, boolean json) throws IOException {
    if (json) {
      ObjectNode root = toJson(report);
      extract.ifPresent(found -> put(root.putObject("lowRank"), found));
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(root));
    } else {
      extract.ifPresent(found -> print(out, found));
      report.notTakenOver().forEach(out::println);
      if (!report.takenOver().isEmpty()) {
        out.printf(
            Locale.ROOT,
            "resumed: %d weight files of an earlier run were taken over: %s%n",
            report.takenOver().size(),
            report.takenOver().stream().map(Names::plain).collect(Collectors.joining(" ")));
      }
      out.printf(
          Locale.ROOT,
          "wrote %s: %d tensors, %s in %.1f s%n",
          report.output(),
          report.tensors(),
          size(report.bytes()),
          report.elapsed().toMillis() / 1e3);
      Rounding total = report.total();
      if (!report.rounding().isEmpty()) {
        out.printf(
            Locale.ROOT,
            "%d tensors changed: %,d weights, of which %,d (%.1f %%) were too little to survive rounding%s%n",
            report.rounding().size(),
            total.touched(),
            total.vanished(),
            total.touched() == 0 ? 0 : 100.0 * total.vanished() / total.touched(),
            total.overflowed() == 0 ? "" : String.format(Locale.ROOT, "; %,d overflowed", total.overflowed()));
      }
      report.requantisation().entrySet().stream()
          .min(Comparator.comparingDouble(entry -> entry.getValue().kept()))
          .ifPresent(least -> print(out, report, least));
    }
    out.flush();
  }

  /** What quantising again did to the change. */
  private static void print(PrintWriter out, WriteReport report, Map.Entry<String, Requantisation> least) {
    Requantisation total = report.totalRequantisation();
    out.printf(
        Locale.ROOT,
        "%d tensors quantised again, %,d of %,d blocks: %.1f %% of the change kept, error %.3g of the change; least kept: %s, %.1f %%%n",
        report.requantisation().size(),
        total.changedBlocks(),
        total.blocks(),
        100 * total.kept(),
        total.relativeError(),
        Names.plain(least.getKey()),
        100 * least.getValue().kept());
  }

  /** What was written of a compressed patch, and what it lost. */
  static void print(PrintWriter out, WriteReport report, Compressed compressed, boolean json) throws IOException {
    long whole = bytesOfChangedTensors(compressed.patch());
    double ratio = whole / (double) Math.max(1, report.bytes());
    if (json) {
      ObjectNode root = toJson(report);
      root.put("bytesOfChangedTensors", whole);
      root.put("ratio", ratio);
      root.put("relativeError", compressed.total().relativeError());
      ObjectNode errors = root.putObject("errors");
      compressed.losses().forEach((name, loss) -> errors.put(name, loss.relativeError()));
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(root));
      out.flush();
      return;
    }
    print(out, report, false);
    out.printf(
        Locale.ROOT,
        "1/%.1f of the %s of the tensors it changes; relative error %.4g, %d of %d changes kept whole%n",
        ratio,
        size(whole),
        compressed.total().relativeError(),
        compressed.whole().size(),
        compressed.losses().size());
    out.flush();
  }

  /** The size of the tensors that {@code patch} changes in the model it was made on, or in float32 where that is not known. */
  private static long bytesOfChangedTensors(Patch patch) {
    Map<String, TensorInfo> base = new HashMap<>();
    patch.base().ifPresent(record -> record.tensors().forEach(tensor -> base.put(tensor.name(), tensor)));
    long bytes = 0;
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      if (!(entry.getValue() instanceof Delta.Unchanged)) {
        TensorInfo tensor = base.get(entry.getKey());
        bytes += tensor == null ? 4 * entry.getValue().shape().elements() : tensor.bytes();
      }
    }
    return bytes;
  }

  private static void print(PrintWriter out, Extract extract) {
    IntSummaryStatistics ranks =
        extract.tensors().stream().filter(tensor -> tensor.form() == Form.FACTORS).mapToInt(TensorExtract::rank).summaryStatistics();
    Map<Form, Long> forms = extract.tensors().stream().collect(Collectors.groupingBy(TensorExtract::form, Collectors.counting()));
    out.printf(
        Locale.ROOT,
        "%d tensors as factors of rank %d to %d, %d whole, %d by rows, %d unchanged; relative error %.4g%n",
        ranks.getCount(),
        ranks.getCount() == 0 ? 0 : ranks.getMin(),
        ranks.getCount() == 0 ? 0 : ranks.getMax(),
        forms.getOrDefault(Form.WHOLE, 0L),
        forms.getOrDefault(Form.ROWS, 0L),
        forms.getOrDefault(Form.UNCHANGED, 0L),
        extract.relativeError());
  }

  private static void put(ObjectNode node, Extract extract) {
    node.put("relativeError", extract.relativeError());
    ObjectNode tensors = node.putObject("tensors");
    extract.tensors().forEach(
        tensor -> {
          ObjectNode entry = tensors.putObject(tensor.tensor());
          entry.put("form", tensor.form().name().toLowerCase(Locale.ROOT));
          entry.put("rank", tensor.rank());
          entry.put("elements", tensor.elements());
          entry.put("stored", tensor.stored());
          entry.put("norm", tensor.norm());
          entry.put("relativeError", tensor.relativeError());
        });
  }

  private static ObjectNode toJson(WriteReport report) {
    ObjectNode root = new ObjectMapper().createObjectNode();
    root.put("output", report.output().toString());
    root.put("tensors", report.tensors());
    root.put("bytes", report.bytes());
    root.put("seconds", report.elapsed().toMillis() / 1e3);
    if (!report.takenOver().isEmpty() || !report.notTakenOver().isEmpty()) {
      report.takenOver().forEach(root.putArray("takenOver")::add);
      report.notTakenOver().forEach(root.putArray("notTakenOver")::add);
    }
    put(root.putObject("rounding"), report.total());
    ObjectNode changed = root.putObject("changed");
    report.rounding().forEach((name, rounding) -> put(changed.putObject(name), rounding));
    if (!report.requantisation().isEmpty()) {
      put(root.putObject("requantisation"), report.totalRequantisation());
      ObjectNode requantised = root.putObject("requantised");
      report.requantisation().forEach((name, requantisation) -> put(requantised.putObject(name), requantisation));
    }
    return root;
  }

  private static void put(ObjectNode node, Rounding rounding) {
    node.put("touched", rounding.touched());
    node.put("vanished", rounding.vanished());
    node.put("overflowed", rounding.overflowed());
    node.put("nonFinite", rounding.nonFinite());
  }

  private static void put(ObjectNode node, Requantisation requantisation) {
    node.put("changeNorm", requantisation.changeNorm());
    node.put("errorNorm", requantisation.errorNorm());
    node.put("kept", requantisation.kept());
    node.put("changedBlocks", requantisation.changedBlocks());
    node.put("blocks", requantisation.blocks());
  }

  /** A number of bytes in words, such as {@code 2.2 GB}. */
  static String size(long bytes) {
    if (bytes < 1000) {
      return bytes + " B";
    }
    double value = bytes;
    String[] units = {"kB", "MB", "GB", "TB"};
    int unit = -1;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    return String.format(Locale.ROOT, "%.1f %s", value, units[unit]);
  }
}
