package io.portllm.bench.kernel;

import io.portllm.DType;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Times each kernel with each implementation and type of weights, and prints what one core moves a second beside a plain copy of memory,
 * which is measured before and after in the same run. Bytes are counted once for each read and each write.
 *
 * <p>Run: {@code tools/kernels.sh}. Arguments are JMH's, such as {@code -p dtype=BF16 -p change=RANK_16}.
 */
public final class KernelTable {
  private final Map<List<String>, Double> nanos = new LinkedHashMap<>();
  private final Map<List<String>, Double> moved = new LinkedHashMap<>();

  private KernelTable() {}

  /** Runs the benchmarks and prints the table. */
  public static void main(String[] args) throws RunnerException, CommandLineOptionException {
    KernelTable table = new KernelTable();
    double before = table.copyRate(args);
    List<KernelImplementation> implementations =
        Arrays.stream(KernelImplementation.values()).filter(KernelImplementation::isThere).toList();
    OptionsBuilder options = table.options(args, KernelBenchmark.class);
    if (!new CommandLineOptions(args).getParameter("implementation").hasValue()) {
      options.param("implementation", implementations.stream().map(Enum::name).toArray(String[]::new));
    }
    for (RunResult result : new Runner(options.build()).run()) {
      table.note(result);
    }
    double after = table.copyRate(args);
    table.print(before, after, implementations);
  }

  private OptionsBuilder options(String[] args, Class<?> benchmark) throws CommandLineOptionException {
    OptionsBuilder options = new OptionsBuilder();
    options.parent(new CommandLineOptions(args)).include(benchmark.getSimpleName()).verbosity(VerboseMode.SILENT).shouldFailOnError(true);
    return options;
  }

  /** Gigabytes that a copy reads and writes in a second. */
  private double copyRate(String[] args) throws RunnerException, CommandLineOptionException {
    Collection<RunResult> results = new Runner(options(args, CopyBenchmark.class).build()).run();
    return 2.0 * KernelBenchmark.BYTES / least(results.iterator().next());
  }

  /** Nanoseconds of the fastest iteration: other work on the machine can only add to them. */
  private static double least(RunResult result) {
    return result.getAggregatedResult().getIterationResults().stream()
        .mapToDouble(iteration -> iteration.getPrimaryResult().getScore())
        .min()
        .orElseThrow();
  }

  private void note(RunResult result) {
    List<String> key = List.of(
        result.getParams().getParam("change"), result.getParams().getParam("dtype"), result.getParams().getParam("implementation"));
    nanos.put(key, least(result));
    Result<?> bytes = result.getSecondaryResults().get("bytesMoved");
    // An event counter is summed over the iterations.
    moved.put(key, bytes.getStatistics().getSum() / bytes.getStatistics().getN());
  }

  private void print(double before, double after, List<KernelImplementation> implementations) {
    double copy = (before + after) / 2;
    System.out.printf(
        Locale.ROOT,
        "JDK %s; load of the last minute %.1f, this run included. A copy of 64 MiB moves %.1f GB/s before and %.1f after.%n%n",
        Runtime.version(),
        ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage(),
        before,
        after);
    StringBuilder head = new StringBuilder("| kernel | weights |");
    for (KernelImplementation implementation : implementations) {
      head.append(' ').append(implementation.label()).append(", million weights/s | GB/s | of the copy |");
    }
    System.out.println(head);
    System.out.println("|---|---|" + "---|---|---|".repeat(implementations.size()));
    List<List<String>> rows = new ArrayList<>();
    for (List<String> key : nanos.keySet()) {
      if (!rows.contains(key.subList(0, 2))) {
        rows.add(key.subList(0, 2));
      }
    }
    rows.sort((a, b) -> KernelChange.valueOf(a.get(0)).compareTo(KernelChange.valueOf(b.get(0))));
    for (List<String> row : rows) {
      System.out.println(line(row, implementations, copy));
    }
  }

  private String line(List<String> row, List<KernelImplementation> implementations, double copy) {
    StringBuilder line = new StringBuilder("| " + KernelChange.valueOf(row.get(0)).label() + " | " + row.get(1) + " |");
    for (KernelImplementation implementation : implementations) {
      List<String> key = List.of(row.get(0), row.get(1), implementation.name());
      if (!nanos.containsKey(key)) {
        line.append(" | | |");
        continue;
      }
      double weights = KernelBenchmark.BYTES / (double) DType.valueOf(row.get(1)).bytes();
      double rate = moved.get(key) / nanos.get(key);
      line.append(
          String.format(Locale.ROOT, " %,.0f | %.1f | %.0f %% |", 1e3 * weights / nanos.get(key), rate, 100 * rate / copy));
    }
    return line.toString();
  }
}
