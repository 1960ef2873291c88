package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.Rounding;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Locale;

/** What was done, as text or JSON. */
final class Reports {
  private Reports() {}

  static void print(PrintWriter out, WriteReport report, boolean json) throws IOException {
    if (json) {
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(toJson(report)));
    } else {
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
    }
    out.flush();
  }

  private static ObjectNode toJson(WriteReport report) {
    ObjectNode root = new ObjectMapper().createObjectNode();
    root.put("output", report.output().toString());
    root.put("tensors", report.tensors());
    root.put("bytes", report.bytes());
    root.put("seconds", report.elapsed().toMillis() / 1e3);
    put(root.putObject("rounding"), report.total());
    ObjectNode changed = root.putObject("changed");
    report.rounding().forEach((name, rounding) -> put(changed.putObject(name), rounding));
    return root;
  }

  private static void put(ObjectNode node, Rounding rounding) {
    node.put("touched", rounding.touched());
    node.put("vanished", rounding.vanished());
    node.put("overflowed", rounding.overflowed());
    node.put("nonFinite", rounding.nonFinite());
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
