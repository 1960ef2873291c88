package io.portllm.cli;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import io.portllm.portability.PortabilityTrial;
import io.portllm.portability.TrialLimits;
import io.portllm.portability.TrialReport;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options of a trial on the user's items. */
final class TrialOptions {
  private static final String SCORE = "--score";
  private static final String RETAIN = "--retain";

  @Option(
      names = SCORE,
      paramLabel = "COMMAND",
      description = "Try the port: run this command on the new base with and without the patch, and judge by what it prints, a line for "
          + "each item: a number from 0 (wrong) to 1 (right), or a JSON object with score and id. {} stands for the model's path. "
          + "Run without a shell.")
  private String score;

  @Option(
      names = RETAIN,
      paramLabel = "COMMAND",
      description = "The same for items that the new base knows and the ported model should still know.")
  private String retain;

  @Option(
      names = "--retuned",
      paramLabel = "M",
      description = "The new base tuned anew: what there is to recover, if it is better than the fine-tuned model.")
  private Path retuned;

  @Option(
      names = "--reference-scores",
      paramLabel = "FILE",
      description = "What the scoring command printed for the fine-tuned model: what there is to recover. Without it, the model of "
          + "--fine-tuned is scored, or the patch on --base.")
  private Path referenceScores;

  @Option(names = "--scales", paramLabel = "S", split = ",", description = "Try the patch multiplied by each of these, too.")
  private double[] scales = {};

  @Option(
      names = "--path",
      paramLabel = "STEPS",
      description = "Try the patch on bases on the way from --base to the new one, cut into so many steps, too.")
  private Integer path;

  @Option(names = "--min-recovery", paramLabel = "R", description = "Require this recovery. With a limit, the limits decide the exit code.")
  private Double minRecovery;

  @Option(names = "--min-score", paramLabel = "S", description = "Require this mean score of the ported model.")
  private Double minScore;

  @Option(
      names = "--max-negative-flips",
      paramLabel = "SHARE",
      description = "Allow this part of the items, and of those to retain, to turn from right to wrong.")
  private Double maxNegativeFlips;

  @Option(names = "--min-retained", paramLabel = "S", description = "Require this mean score of the ported model on the items to retain.")
  private Double minRetained;

  @Option(
      names = "--score-timeout",
      paramLabel = "SECONDS",
      description = "End a run of a scoring command after this time. Default: never.")
  private Long timeout;

  @Option(
      names = "--scratch",
      paramLabel = "DIR",
      description = "Where models are written to be scored, one at a time, and removed. Default: the system's folder for temporary files.")
  private Path scratch;

  /** Whether a trial is wanted. */
  boolean isGiven() {
    return score != null;
  }

  /** What the port must reach. */
  TrialLimits limits() {
    TrialLimits limits = TrialLimits.none();
    limits = minRecovery == null ? limits : limits.recovery(minRecovery);
    limits = minScore == null ? limits : limits.score(minScore);
    limits = maxNegativeFlips == null ? limits : limits.negativeFlips(maxNegativeFlips);
    return minRetained == null ? limits : limits.retained(minRetained);
  }

  /**
   * Refuses options that contradict each other, before any work is done.
   *
   * @param hasBase whether the model that was tuned is named
   * @param hasFineTuned whether the fine-tuned model is
   */
  void check(boolean hasBase, boolean hasFineTuned) {
    if (score == null) {
      boolean alone = retain != null || retuned != null || referenceScores != null || scales.length > 0 || path != null || timeout != null
          || scratch != null || !limits().equals(TrialLimits.none());
      require(!alone, "options of a trial need " + SCORE + ", the command that scores a model");
      return;
    }
    words(SCORE, score);
    if (retain != null) {
      words(RETAIN, retain);
    }
    require(path == null || path >= 1, "--path must be at least 1 but is " + path);
    require(path == null || hasBase, "--path needs --base, where it starts");
    require(minRetained == null || retain != null, "--min-retained needs " + RETAIN);
    boolean target = hasBase || hasFineTuned || retuned != null || referenceScores != null;
    require(minRecovery == null || target, "--min-recovery needs something to recover: --base, --reference-scores or --retuned");
    require(timeout == null || timeout >= 1, "--score-timeout must be at least 1 but is " + timeout);
    require(scratch == null || Files.isDirectory(scratch), "--scratch must be a folder that exists but is '" + scratch + "'");
    for (double scale : scales) {
      require(Double.isFinite(scale), "--scales must be finite but one is " + scale);
    }
  }

  private static void require(boolean holds, String what) {
    if (!holds) {
      throw new IllegalArgumentException(what);
    }
  }

  private static List<String> words(String option, String command) {
    List<String> words;
    try {
      words = Words.of(command);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(option + " " + e.getMessage(), e);
    }
    require(words.stream().anyMatch(word -> word.contains(ScoringProcess.PLACE)), option + " must have {} where the model's path belongs");
    return words;
  }

  /** Models of a trial that are open, and where they are. */
  record Given(Known newBase, Optional<Known> oldBase, Optional<Known> fineTuned) {}

  /** A model and where it is. */
  record Known(ModelVersion model, Path path) {}

  /** Runs the trial. */
  TrialReport run(Patch patch, Given given, MergeOptions merging, WriteOptions writing) throws IOException {
    Optional<Duration> longest = Optional.ofNullable(timeout).map(Duration::ofSeconds);
    Optional<Scores> stored = Optional.empty();
    if (referenceScores != null) {
      try (InputStream in = new BufferedInputStream(Files.newInputStream(referenceScores))) {
        stored = Optional.of(Scores.read(in, "[" + referenceScores + "]"));
      }
      if (stored.get().values().isEmpty()) {
        throw new IOException("[" + referenceScores + "]: must have at least one score but has none (SC-COUNT)");
      }
    }
    try (Candidates candidates = new Candidates(Optional.ofNullable(scratch), writing);
        ModelVersion anew = retuned == null ? null : Checkpoints.open(retuned)) {
      know(candidates, given.newBase());
      PortabilityTrial trial =
          PortabilityTrial.with(new CommandScoring(new ScoringProcess(SCORE, words(SCORE, score), longest), candidates, stored))
              .withMergeOptions(merging)
              .withScales(scales);
      if (retain != null) {
        trial = trial.withRetain(
            new CommandScoring(new ScoringProcess(RETAIN, words(RETAIN, retain), longest), candidates, Optional.empty()));
      }
      if (anew != null) {
        know(candidates, new Known(anew, retuned));
        trial = trial.withRetuned(anew);
      }
      trial = withSource(trial, candidates, given, stored);
      return (path == null ? trial : trial.withPath(path)).run(patch, given.newBase().model());
    }
  }

  private static void know(Candidates candidates, Known known) {
    candidates.know(known.model(), known.path());
  }

  private static PortabilityTrial withSource(PortabilityTrial given, Candidates candidates, Given models, Optional<Scores> stored) {
    PortabilityTrial trial = given;
    if (models.oldBase().isPresent()) {
      know(candidates, models.oldBase().get());
      trial = trial.withOldBase(models.oldBase().get().model());
    }
    if (models.fineTuned().isPresent()) {
      know(candidates, models.fineTuned().get());
      trial = trial.withReference(models.fineTuned().get().model());
    }
    return stored.isPresent() ? trial.withReferenceScores(stored.get().toArray()) : trial;
  }
}
