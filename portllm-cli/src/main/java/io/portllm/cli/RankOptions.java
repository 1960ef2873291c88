package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.extract.Extract;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import java.io.IOException;
import java.util.Optional;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** The options for low rank. */
final class RankOptions {
  @ArgGroup private Rule rule;

  @Option(names = "--max-rank", paramLabel = "N", description = "With --energy, the largest rank. Default: " + RankRule.DEFAULT_MOST + ".")
  private Integer most;

  private static final class Rule {
    @Option(names = "--rank", paramLabel = "N", description = "Keep the N largest singular values of each matrix of the patch.")
    private Integer rank;

    @Option(
        names = "--energy",
        paramLabel = "E",
        description = "Keep as few singular values of each matrix as hold this part, such as 0.9, of the sum of their squares.")
    private Double energy;
  }

  boolean isGiven() {
    return rule != null;
  }

  /** The low-rank form of {@code patch}, if it is wanted. */
  Optional<Extract> extract(Patch patch, CommonOptions common) throws IOException {
    if (most != null && (rule == null || rule.energy == null)) {
      throw new IllegalArgumentException("--max-rank belongs to --energy");
    }
    if (rule == null) {
      return Optional.empty();
    }
    RankRule wanted = rule.rank != null ? RankRule.rank(rule.rank) : RankRule.energy(rule.energy);
    if (most != null) {
      wanted = wanted.upTo(most);
    }
    try (ProgressLine progress = new ProgressLine("extracting")) {
      return Optional.of(common.with(LowRankExtraction.by(wanted).withProgress(progress)).of(patch));
    }
  }
}
