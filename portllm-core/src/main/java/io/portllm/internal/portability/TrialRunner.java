package io.portllm.internal.portability;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.internal.text.Names;
import io.portllm.portability.Interval;
import io.portllm.portability.Scoring;
import io.portllm.portability.TrialArm;
import io.portllm.portability.TrialFlips;
import io.portllm.portability.TrialPoint;
import io.portllm.portability.TrialReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** Scores the models of a trial, and compares them. */
public final class TrialRunner {
  private static final double RIGHT = 0.5;

  private final Scoring scoring;
  private final Optional<Scoring> retain;
  private final Optional<ModelVersion> oldBase;
  private final Optional<ModelVersion> retuned;
  private final List<Double> scales;
  private final int pathSteps;
  private final MergeOptions options;
  private final long seed;

  /** A trial; see {@link io.portllm.portability.PortabilityTrial} for the parameters. */
  public TrialRunner(
      Scoring scoring,
      Optional<Scoring> retain,
      Optional<ModelVersion> oldBase,
      Optional<ModelVersion> retuned,
      List<Double> scales,
      int pathSteps,
      MergeOptions options,
      long seed) {
    this.scoring = scoring;
    this.retain = retain;
    this.oldBase = oldBase;
    this.retuned = retuned;
    this.scales = scales;
    this.pathSteps = pathSteps;
    this.options = options;
    this.seed = seed;
  }

  /** Runs the trial. */
  public TrialReport run(Patch patch, ModelVersion newBase) throws IOException {
    if (pathSteps > 0 && oldBase.isEmpty()) {
      throw new IllegalStateException("a path needs the old base, from which it starts");
    }
    double[] none = scores(scoring, newBase, -1);
    double[] ported = scores(scoring, patch.applyTo(newBase, options), none.length);
    Optional<double[]> reference = Optional.empty();
    if (oldBase.isPresent()) {
      reference = Optional.of(scores(scoring, patch.applyTo(oldBase.get(), options), none.length));
    }
    Optional<double[]> tuned = Optional.empty();
    if (retuned.isPresent()) {
      tuned = Optional.of(scores(scoring, retuned.get(), none.length));
    }
    Optional<double[]> target = better(reference, tuned);
    Bootstrap bootstrap = new Bootstrap(none, ported, target, seed);
    double gain = mean(ported) - mean(none);
    OptionalDouble recovery = recovery(mean(none), mean(ported), target.map(TrialRunner::mean));
    Optional<Interval> recoveryInterval = recovery.isPresent() ? bootstrap.recovery() : Optional.empty();
    Optional<double[]> retainNone = Optional.empty();
    Optional<double[]> retainPorted = Optional.empty();
    if (retain.isPresent()) {
      retainNone = Optional.of(scores(retain.get(), newBase, -1));
      retainPorted = Optional.of(scores(retain.get(), patch.applyTo(newBase, options), retainNone.get().length));
    }
    Optional<TrialFlips> retainFlips =
        retainNone.isPresent() ? Optional.of(flips(retainNone.get(), retainPorted.orElseThrow())) : Optional.empty();
    Verdict verdict = verdict(recovery, bootstrap.gain());
    return new TrialReport(
        patch.recipe(),
        Names.last(newBase.name()),
        verdict,
        isCertain(verdict, recoveryInterval, bootstrap.gain()),
        arm("no patch", none),
        arm("ported", ported),
        reference.map(found -> arm("old base with the patch", found)),
        tuned.map(found -> arm("re-tuned", found)),
        gain,
        bootstrap.gain(),
        recovery,
        recoveryInterval,
        flips(none, ported),
        retainNone.map(found -> arm("to retain, no patch", found)),
        retainPorted.map(found -> arm("to retain, ported", found)),
        retainFlips,
        sweep(patch, newBase, none.length),
        path(patch, newBase, none.length));
  }

  private List<TrialPoint> sweep(Patch patch, ModelVersion newBase, int items) throws IOException {
    List<TrialPoint> points = new ArrayList<>();
    for (double scale : scales) {
      points.add(new TrialPoint(scale, mean(scores(scoring, patch.scaledBy(scale).applyTo(newBase, options), items))));
    }
    return points;
  }

  private List<TrialPoint> path(Patch patch, ModelVersion newBase, int items) throws IOException {
    List<TrialPoint> points = new ArrayList<>();
    if (pathSteps > 0) {
      Patch update = Patch.from(newBase, oldBase.get(), options);
      for (int i = 0; i <= pathSteps; i++) {
        double at = (double) i / pathSteps;
        ModelVersion between = update.scaledBy(at).plus(patch).applyTo(oldBase.get(), options);
        points.add(new TrialPoint(at, mean(scores(scoring, between, items))));
      }
    }
    return points;
  }

  private static double[] scores(Scoring scoring, ModelVersion model, int expected) throws IOException {
    double[] scores = scoring.score(model).clone();
    if (scores.length == 0 || expected >= 0 && scores.length != expected) {
      String wanted = expected < 0 ? "at least one score" : expected + " scores, as for the first model";
      throw new IllegalArgumentException("scoring must give " + wanted + " but gave " + scores.length);
    }
    for (double score : scores) {
      if (!(score >= 0 && score <= 1)) {
        throw new IllegalArgumentException("scores must lie within 0 to 1 but one is " + score);
      }
    }
    return scores;
  }

  private static Optional<double[]> better(Optional<double[]> one, Optional<double[]> other) {
    if (one.isEmpty() || other.isEmpty()) {
      return one.or(() -> other);
    }
    return mean(one.get()) >= mean(other.get()) ? one : other;
  }

  static OptionalDouble recovery(double none, double ported, Optional<Double> target) {
    return target.isPresent() && target.get() > none ? OptionalDouble.of((ported - none) / (target.get() - none)) : OptionalDouble.empty();
  }

  private static Verdict verdict(OptionalDouble recovery, Interval gain) {
    if (recovery.isPresent()) {
      double value = recovery.getAsDouble();
      return value >= TrialReport.PORT_FROM ? Verdict.PORT : value < TrialReport.TUNE_FROM ? Verdict.DO_NOT_PORT : Verdict.PORT_AND_TUNE;
    }
    return gain.low() > 0 ? Verdict.PORT : gain.high() <= 0 ? Verdict.DO_NOT_PORT : Verdict.PORT_AND_TUNE;
  }

  private static boolean isCertain(Verdict verdict, Optional<Interval> recovery, Interval gain) {
    if (recovery.isEmpty()) {
      return verdict != Verdict.PORT_AND_TUNE;
    }
    Interval interval = recovery.get();
    return switch (verdict) {
      case PORT -> interval.low() >= TrialReport.PORT_FROM;
      case DO_NOT_PORT -> interval.high() < TrialReport.TUNE_FROM;
      case PORT_AND_TUNE -> interval.low() >= TrialReport.TUNE_FROM && interval.high() < TrialReport.PORT_FROM;
    };
  }

  private static TrialArm arm(String name, double[] scores) {
    return new TrialArm(name, scores.length, mean(scores), Bootstrap.wilson(mean(scores), scores.length));
  }

  private static TrialFlips flips(double[] before, double[] after) {
    int negative = 0;
    int positive = 0;
    for (int i = 0; i < before.length; i++) {
      negative += before[i] >= RIGHT && after[i] < RIGHT ? 1 : 0;
      positive += before[i] < RIGHT && after[i] >= RIGHT ? 1 : 0;
    }
    return new TrialFlips(before.length, negative, positive);
  }

  private static double mean(double[] scores) {
    return Arrays.stream(scores).sum() / scores.length;
  }
}
