package io.portllm.cli;

import io.portllm.ModelVersion;
import io.portllm.internal.text.Names;
import io.portllm.portability.Scoring;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/** Scores models with the user's command, and requires that each time the same items are scored. */
final class CommandScoring implements Scoring {
  private final ScoringProcess process;
  private final Candidates candidates;
  private Optional<Scores> first;
  private String where;

  /**
   * A scoring.
   *
   * @param known scores of the items that were stored before, if there are any
   */
  CommandScoring(ScoringProcess process, Candidates candidates, Optional<Scores> known) {
    this.process = process;
    this.candidates = candidates;
    this.first = known;
    this.where = "the stored scores";
  }

  @Override
  public double[] score(ModelVersion model) throws IOException {
    Path path = candidates.pathOf(model);
    String name = String.valueOf(path.getFileName());
    Scores scores = process.run(path, name);
    if (first.isEmpty()) {
      if (scores.values().isEmpty()) {
        throw new IOException(process.named(name) + ": must give at least one score but gave none (SC-COUNT)");
      }
      first = Optional.of(scores);
      where = Names.quote(name);
    } else {
      scores.requireSameItems(first.get(), process.named(name), where);
    }
    return scores.toArray();
  }
}
