package io.portllm.spark;

import io.portllm.Allow;
import io.portllm.IncompatibleModelException;
import io.portllm.Rounding;
import io.portllm.io.PortabilityReports;
import io.portllm.io.WriteReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.spark.internal.job.Arguments;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** {@link SparkPorts} for {@code spark-submit}. */
public final class SparkMain {
  private static final String USAGE = """
      usage: spark-submit --class io.portllm.spark.SparkMain ... portllm-spark.jar COMMAND

        port PATCH --onto N -o OUT [--force] [--allow MISMATCH,...]
        diff PATCH -o FILE.patch.safetensors [--force]
        check PATCH --to N [--json]
        fingerprint --model M

      PATCH is --fine-tuned FT --base B, or --adapter DIR [--base B], or --patch FILE,
      with [--scale S] [--only GLOB,...] [--except GLOB,...].
      Several patches: give --fine-tuned, --adapter or --patch, and -o, more than once, in the same order.
      [--range-bytes N] is the most of a file that one task writes.
      Exit codes: 0 done, 1 refused or failed, 2 wrong usage; check: 3 PORT_AND_TUNE, 4 DO_NOT_PORT for the worst.
      """;

  private SparkMain() {}

  /** Runs a command in the Spark application that {@code spark-submit} set up, and ends the JVM if it did not succeed. */
  public static void main(String[] arguments) {
    int code;
    try {
      Arguments parsed = Arguments.parse(arguments);
      try (JavaSparkContext context = new JavaSparkContext(new SparkConf().setIfMissing("spark.app.name", "portllm " + parsed.command()))) {
        code = run(parsed, context, System.out);
      }
    } catch (IllegalArgumentException e) {
      System.err.println("portllm: " + e.getMessage());
      System.err.print(USAGE);
      code = 2;
    } catch (IOException | IncompatibleModelException e) {
      System.err.println("portllm: " + e.getMessage());
      code = 1;
    }
    if (code != 0) {
      System.exit(code);
    }
  }

  static int run(Arguments arguments, JavaSparkContext context, PrintStream out) throws IOException {
    SparkPorts ports = SparkPorts.on(context).withRangeBytes(arguments.number("--range-bytes", SparkPorts.DEFAULT_RANGE_BYTES));
    switch (arguments.command()) {
      case "port" -> {
        port(arguments, ports, out);
        return 0;
      }
      case "diff" -> {
        diff(arguments, ports, out);
        return 0;
      }
      case "check" -> {
        return check(arguments, ports, out);
      }
      case "fingerprint" -> {
        out.println(ports.fingerprint(arguments.one("--model")).digest());
        return 0;
      }
      default -> throw new IllegalArgumentException("no command '" + arguments.command() + "'");
    }
  }

  private static void port(Arguments arguments, SparkPorts ports, PrintStream out) throws IOException {
    List<PatchSource> patches = arguments.patches();
    List<String> outputs = arguments.all("-o");
    requireAsMany(patches, outputs);
    List<PortRequest> requests = new ArrayList<>();
    for (int i = 0; i < patches.size(); i++) {
      PortRequest request = PortRequest.of(patches.get(i), arguments.one("--onto"), outputs.get(i)).allowing(allowed(arguments));
      requests.add(arguments.has("--force") ? request.overwriting() : request);
    }
    for (WriteReport report : ports.portAll(requests)) {
      Rounding total = report.total();
      out.printf(
          "%s: %d tensors, %,d bytes, %d of them changed; of %,d changed weights rounding left %,d as they were; %.1f s%n",
          report.output(), report.tensors(), report.bytes(), report.rounding().size(), total.touched(), total.vanished(),
          report.elapsed().toMillis() / 1e3);
    }
  }

  private static void diff(Arguments arguments, SparkPorts ports, PrintStream out) throws IOException {
    List<PatchSource> patches = arguments.patches();
    List<String> outputs = arguments.all("-o");
    requireAsMany(patches, outputs);
    Map<String, PatchSource> files = new LinkedHashMap<>();
    for (int i = 0; i < patches.size(); i++) {
      if (files.put(outputs.get(i), patches.get(i)) != null) {
        throw new IllegalArgumentException("two patches have the output " + outputs.get(i));
      }
    }
    List<Long> bytes = ports.diffAll(files, arguments.has("--force"));
    for (int i = 0; i < outputs.size(); i++) {
      out.printf("%s: %,d bytes%n", outputs.get(i), bytes.get(i));
    }
  }

  private static int check(Arguments arguments, SparkPorts ports, PrintStream out) throws IOException {
    int worst = 0;
    for (PortabilityReport report : ports.checkAll(arguments.patches(), arguments.one("--to"))) {
      out.println(arguments.has("--json") ? PortabilityReports.json(report).stripTrailing() : report);
      int code = switch (report.verdict()) {
        case PORT -> 0;
        case PORT_AND_TUNE -> 3;
        case DO_NOT_PORT -> 4;
      };
      worst = Math.max(worst, code);
    }
    return worst;
  }

  private static void requireAsMany(List<PatchSource> patches, List<String> outputs) {
    if (patches.size() != outputs.size()) {
      throw new IllegalArgumentException("there must be one -o for each patch, but there are " + outputs.size() + " for " + patches.size());
    }
  }

  private static Allow[] allowed(Arguments arguments) {
    return arguments.list("--allow").stream()
        .map(name -> Arrays.stream(Allow.values()).filter(allow -> allow.optionName().equals(name)).findFirst()
            .orElseThrow(() -> new IllegalArgumentException("no mismatch '" + name + "' to allow")))
        .toArray(Allow[]::new);
  }
}
