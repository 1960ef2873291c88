package io.portllm.bench.lab;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The lab from the command line.
 *
 * <ul>
 *   <li>{@code LabMain eval LAB MODEL [TASK…]} asks a model, ported or not, the prompts of tasks and prints its accuracy on each.
 *   <li>{@code LabMain table LAB [MORE]} judges and tries every patch on every base, also those in the folder MORE, prints a table of all
 *       cells and how well the figures and verdicts do, and ends with exit code 1 if they do less well than
 *       {@code docs/concepts/portability.md} says.
 * </ul>
 *
 * <p>Run with {@code java -cp … io.portllm.bench.lab.LabMain}, or {@code mvn -q -B -ntp -pl portllm-bench -am -Plab -DskipTests verify}.
 */
public final class LabMain {
  private static final int ALL_PROMPTS = 250;

  /** The part of the cells in which a verdict on the prompts must be that of 2,000 others. */
  private static final double LEAST_RIGHT = 0.95;

  private static final double LEAST_CORRELATION = 0.8;

  private LabMain() {}

  /** The command; see the class comment. */
  public static void main(String[] args) throws IOException {
    if (args.length >= 3 && args[0].equals("eval")) {
      evaluate(Path.of(args[1]), Path.of(args[2]), Arrays.asList(args).subList(3, args.length));
    } else if ((args.length == 2 || args.length == 3) && args[0].equals("table")) {
      List<String> failures = table(Path.of(args[1]), args.length == 2 ? Optional.empty() : Optional.of(Path.of(args[2])));
      if (!failures.isEmpty()) {
        System.err.println("Not as expected: " + String.join("; ", failures));
        System.exit(1);
      }
    } else {
      System.err.println("usage: LabMain eval LAB MODEL [TASK...] | LabMain table LAB [MORE]");
      System.exit(2);
    }
  }

  private static void evaluate(Path folder, Path model, List<String> tasks) throws IOException {
    try (Lab lab = new Lab(folder, Optional.empty(), ALL_PROMPTS); ModelVersion opened = Checkpoints.open(model)) {
      for (String task : tasks.isEmpty() ? lab.tasks() : tasks) {
        double[] scores = lab.scoring(task).score(opened);
        System.out.printf(Locale.ROOT, "%-10s %5.1f %% of %d%n", task, 100 * Arrays.stream(scores).average().orElse(0), scores.length);
      }
    }
  }

  private static List<String> table(Path folder, Optional<Path> more) throws IOException {
    List<LabCell> cells = new ArrayList<>();
    List<String> bases = new ArrayList<>(Lab.BASES);
    bases.addAll(Lab.PERMUTED);
    try (Lab lab = new Lab(folder, more, ALL_PROMPTS)) {
      bases.addAll(lab.moreBases());
      System.out.println("| patch | base | no patch, % | ported, % | ported, % of 250 | recovery | without data | score | with data |");
      System.out.println("|---|---|---|---|---|---|---|---|---|");
      for (String name : Lab.PATCHES) {
        Patch patch = lab.patch(name);
        for (String base : bases) {
          LabCell cell = lab.cell(name, patch, base);
          cells.add(cell);
          System.out.println(cell.row());
        }
      }
    }
    List<String> failures = new ArrayList<>();
    withData(cells, failures);
    withoutData(cells, failures);
    correlations(cells, failures);
    return failures;
  }

  private static void withData(List<LabCell> cells, List<String> failures) {
    List<LabCell> known = cells.stream().filter(cell -> cell.right().isPresent()).toList();
    long right = known.stream().filter(cell -> cell.right().orElseThrow() == cell.trial().verdict()).count();
    System.out.printf(Locale.ROOT, "%nWith data: %d of %d verdicts on 250 prompts are those of 2,000.%n", right, known.size());
    if (right < LEAST_RIGHT * known.size()) {
      failures.add(right + " of " + known.size() + " verdicts with data are right");
    }
  }

  private static void withoutData(List<LabCell> cells, List<String> failures) {
    for (LabCell cell : cells) {
      Verdict verdict = cell.report().verdict();
      if (!Lab.BASES.contains(cell.base()) && !Lab.PERMUTED.contains(cell.base())) {
        continue;
      }
      boolean line = !Lab.PERMUTED.contains(cell.base()) && !cell.base().equals("independent");
      if (line == (verdict == Verdict.DO_NOT_PORT)) {
        failures.add(cell.patch() + " on " + cell.base() + " is " + verdict + " without data");
      }
    }
    for (Verdict verdict : Verdict.values()) {
      List<LabCell> said = cells.stream().filter(cell -> cell.report().verdict() == verdict && cell.right().isPresent()).toList();
      long right = said.stream().filter(cell -> cell.right().orElseThrow() == verdict).count();
      System.out.printf(Locale.ROOT, "Without data: %s in %d cells, right by 2,000 prompts in %d.%n", verdict, said.size(), right);
    }
  }

  private static void correlations(List<LabCell> cells, List<String> failures) {
    System.out.println("\nRank correlations with accuracy: of the score and of the drift.");
    System.out.println("\n| patch | score, 11 bases | the lab's 7 alone | all bases | drift, 11 | 7 | all |");
    System.out.println("|---|---|---|---|---|---|---|");
    for (String patch : Lab.PATCHES) {
      List<LabCell> all = cells.stream().filter(cell -> cell.patch().equals(patch)).toList();
      List<LabCell> stored = all.stream().filter(cell -> Lab.BASES.contains(cell.base())).toList();
      List<LabCell> known = all.stream().filter(cell -> Lab.PERMUTED.contains(cell.base()) || stored.contains(cell)).toList();
      double correlation = ofScore(known);
      System.out.printf(
          Locale.ROOT,
          "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |%n",
          patch, correlation, ofScore(stored), ofScore(all), ofDrift(known), ofDrift(stored), ofDrift(all));
      if (patch.endsWith("-lora") && correlation < LEAST_CORRELATION) {
        failures.add(String.format(Locale.ROOT, "score and accuracy of %s have a rank correlation of %.2f", patch, correlation));
      }
    }
  }

  private static double ofScore(List<LabCell> cells) {
    return RankCorrelation.of(cells.stream().map(cell -> cell.report().score().orElseThrow()).toList(), accuracies(cells));
  }

  private static double ofDrift(List<LabCell> cells) {
    List<Double> kept = cells.stream().map(cell -> -cell.report().patched().update().orElseThrow().drift()).toList();
    return RankCorrelation.of(kept, accuracies(cells));
  }

  private static List<Double> accuracies(List<LabCell> cells) {
    return cells.stream().map(LabCell::accuracy).toList();
  }
}
