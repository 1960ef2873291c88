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

  /** Where it is not known how many items there are. */
  private static final int ANY = -1;

  private final Scoring scoring;
  private final Optional<Scoring> retain;
  private final Optional<ModelVersion> oldBase;
  private final Optional<TrialReference> reference;
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
      Optional<TrialReference> reference,
      Optional<ModelVersion> retuned,
      List<Double> scales,
      int pathSteps,
      MergeOptions options,
      long seed) {
    this.scoring = scoring;
    this.retain = retain;
    this.oldBase = oldBase;
    this.reference = reference;
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
    double[] none = scores(scoring, newBase, ANY);
    Optional<double[]> retainNone = retained(newBase, ANY);
    ModelVersion model = patch.applyTo(newBase, options);
    double[] ported = scores(scoring, model, none.length);
    Optional<double[]> retainPorted = retained(model, retainNone.map(found -> found.length).orElse(ANY));
    Optional<double[]> tunedOnOld = reference(patch, none.length);
    Optional<double[]> tuned = Optional.empty();
    if (retuned.isPresent()) {
      tuned = Optional.of(scores(scoring, retuned.get(), none.length));
    }
    Optional<double[]> target = better(tunedOnOld, tuned);
    Bootstrap bootstrap = new Bootstrap(none, ported, target, seed);
    double gain = mean(ported) - mean(none);
    OptionalDouble recovery = recovery(mean(none), mean(ported), target.map(TrialRunner::mean));
    Optional<Interval> recoveryInterval = recovery.isPresent() ? bootstrap.recovery() : Optional.empty();
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
        tunedOnOld.map(found -> arm(reference.isPresent() ? "fine-tuned model" : "old base with the patch", found)),
        tuned.map(found -> arm("re-tuned", found)),
        gain,
        bootstrap.gain(),
        recovery,
        recoveryInterval,
        flips(none, ported),
        retainNone.map(found -> arm("to retain, no patch", found)),
        retainPorted.map(found -> arm("to retain, ported", found)),
        retainFlips,
        sweep(patch, newBase, ported),
        path(patch, newBase, none.length));
  }

  private Optional<double[]> retained(ModelVersion model, int expected) throws IOException {
    return retain.isPresent() ? Optional.of(scores(retain.get(), model, expected)) : Optional.empty();
  }

  private Optional<double[]> reference(Patch patch, int items) throws IOException {
    if (reference.isPresent()) {
      return Optional.of(checked(reference.get().scores(scoring), items));
    }
    return oldBase.isPresent() ? Optional.of(scores(scoring, patch.applyTo(oldBase.get(), options), items)) : Optional.empty();
  }

  private List<TrialPoint> sweep(Patch patch, ModelVersion newBase, double[] ported) throws IOException {
    List<TrialPoint> points = new ArrayList<>();
    for (double scale : scales) {
      double[] scaled = scale == 1 ? ported : scores(scoring, patch.scaledBy(scale).applyTo(newBase, options), ported.length);
      points.add(new TrialPoint(scale, mean(scaled)));
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
    return checked(scoring.score(model), expected);
  }

  private static double[] checked(double[] given, int expected) {
    double[] scores = given.clone();
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
