package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.merge.ConflictReport;
import io.portllm.merge.ConflictReport.Conflict;
import io.portllm.merge.ConflictReport.Pair;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** How much patches contradict each other, as a table or JSON. */
final class ConflictTable {
  private ConflictTable() {}

  static void print(PrintWriter out, List<Path> patches, ConflictReport report, boolean json) throws IOException {
    if (json) {
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(toJson(patches, report)));
      out.flush();
      return;
    }
    for (int i = 0; i < patches.size(); i++) {
      out.printf(Locale.ROOT, "%d: %s, norm %.4g%n", i + 1, patches.get(i), Math.sqrt(report.total().energies().get(i)));
    }
    out.printf(Locale.ROOT, "%-48s %9s %9s %9s  %s%n", "tensor", "shared", "signs", "weighted", "cosine (overlap of column spaces)");
    report.tensors().forEach(conflict -> print(out, conflict));
    print(out, report.total());
    out.flush();
  }

  private static void print(PrintWriter out, Conflict conflict) {
    out.printf(
        Locale.ROOT,
        "%-48s %7.1f %% %7.1f %% %7.1f %%  %s%n",
        Names.plain(conflict.tensor()),
        conflict.elements() == 0 ? 0 : 100.0 * conflict.shared() / conflict.elements(),
        100 * conflict.signDisagreement(),
        100 * conflict.weightedSignDisagreement(),
        conflict.pairs().stream().map(ConflictTable::text).collect(Collectors.joining(", ")));
  }

  private static String text(Pair pair) {
    return String.format(Locale.ROOT, "%d-%d %.3f", pair.first() + 1, pair.second() + 1, pair.cosine())
        + pair.overlap().map(overlap -> String.format(Locale.ROOT, " (%.3f)", overlap.share())).orElse("");
  }

  private static ObjectNode toJson(List<Path> patches, ConflictReport report) {
    ObjectNode root = new ObjectMapper().createObjectNode();
    ArrayNode names = root.putArray("patches");
    patches.forEach(patch -> names.add(patch.toString()));
    put(root.putObject("total"), report.total());
    ObjectNode tensors = root.putObject("tensors");
    report.tensors().forEach(conflict -> put(tensors.putObject(conflict.tensor()), conflict));
    return root;
  }

  private static void put(ObjectNode node, Conflict conflict) {
    node.put("elements", conflict.elements());
    node.put("shared", conflict.shared());
    node.put("disagreeing", conflict.disagreeing());
    node.put("signDisagreement", conflict.signDisagreement());
    node.put("weightedSignDisagreement", conflict.weightedSignDisagreement());
    conflict.energies().forEach(node.withArray("energies")::add);
    ArrayNode pairs = node.putArray("pairs");
    for (Pair pair : conflict.pairs()) {
      ObjectNode entry = pairs.addObject().put("first", pair.first()).put("second", pair.second()).put("cosine", pair.cosine());
      pair.overlap().ifPresent(overlap -> {
        entry.put("overlap", overlap.share());
        overlap.cosines().forEach(entry.withArray("principalCosines")::add);
      });
    }
  }
}
