package io.portllm.cli.demo;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.cli.Terminal;
import io.portllm.cli.demo.DemoRow.Figure;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code portllm demo}: ports bundled patches to bundled models and prints how well the results answer. */
@Command(
    name = "demo",
    description = {
      "Ports a patch between bundled trained models and runs the results.",
      "v1 was tuned to answer climbs(x)=, by LoRA and in full. v2 and v3 are later releases of v1; independent is no release of it. "
          + "Exits with 1 if a figure is more than a point off the expected one."
    })
public final class DemoCommand implements Callable<Integer> {
  @Spec
  private CommandSpec spec;

  @Option(names = "--keep", paramLabel = "DIR", description = "Keep the unpacked and ported models in DIR, an empty or new folder.")
  private Path keep;

  @Option(names = "--json", description = "Print the table as JSON.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    int prompts;
    List<DemoRow> rows;
    try (DemoFolder folder = keep == null ? DemoFolder.temporary() : DemoFolder.kept(keep)) {
      Demo demo = new Demo(folder, progress(spec.commandLine().getErr()));
      prompts = demo.prompts();
      rows = demo.run();
    }
    return report(rows, prompts);
  }

  /** Prints the rows; returns the exit code. */
  int report(List<DemoRow> rows, int prompts) throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    out.print(json ? json(rows, prompts) : table(rows, prompts));
    out.flush();

    List<String> differing = differing(rows);
    if (differing.isEmpty()) {
      return 0;
    }
    PrintWriter err = spec.commandLine().getErr();
    err.println("figures differ from the expected ones by more than a point: " + String.join(", ", differing));
    err.flush();
    return 1;
  }

  private static Consumer<String> progress(PrintWriter err) {
    if (!Terminal.isAttached()) {
      return step -> {};
    }
    return step -> {
      err.println(step);
      err.flush();
    };
  }

  static String table(List<DemoRow> rows, int prompts) {
    StringBuilder table = new StringBuilder();
    table.append("climbs(x)=, ").append(prompts).append(" prompts: % right (expected), and the time of the port\n\n");
    table.append("base         no patch         LoRA patch ported          full-weight patch ported\n");
    for (DemoRow row : rows) {
      table.append(String.format(
          Locale.ROOT, "%-12s %-16s %-26s %s\n", row.base(), show(row.unpatched()), show(row.lora()), show(row.full())));
    }
    return table.toString();
  }

  private static String show(Figure figure) {
    String percent = String.format(Locale.ROOT, "%5.1f (%.1f)", figure.percent(), figure.expected());
    return figure.port().map(time -> String.format("%-15s %5d ms", percent, time.toMillis())).orElse(percent);
  }

  static String json(List<DemoRow> rows, int prompts) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode root = mapper.createObjectNode();
    root.put("task", "climbs").put("prompts", prompts).put("agrees", differing(rows).isEmpty());
    for (DemoRow row : rows) {
      ObjectNode entry = root.withArray("rows").addObject().put("base", row.base());
      put(entry.putObject("unpatched"), row.unpatched());
      put(entry.putObject("lora"), row.lora());
      put(entry.putObject("full"), row.full());
    }
    return mapper.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n";
  }

  private static void put(ObjectNode entry, Figure figure) {
    entry.put("percent", figure.percent()).put("expected", figure.expected());
    figure.port().ifPresent(time -> entry.put("portMillis", time.toMillis()));
  }

  /** The figures that do not agree, each in a few words. */
  static List<String> differing(List<DemoRow> rows) {
    List<String> differing = new ArrayList<>();
    for (DemoRow row : rows) {
      note(differing, row.base(), row.unpatched());
      note(differing, row.base() + " with the LoRA patch", row.lora());
      note(differing, row.base() + " with the full-weight patch", row.full());
    }
    return differing;
  }

  private static void note(List<String> differing, String what, Figure figure) {
    if (!figure.agrees()) {
      differing.add(String.format(Locale.ROOT, "%s %.1f instead of %.1f", what, figure.percent(), figure.expected()));
    }
  }
}
