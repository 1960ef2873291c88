package io.portllm.portability;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PortabilityTrialTest {
  /** A model of one weight; items are right as far as the weight goes. */
  private static MemoryModel model(String name, double weight) {
    return MemoryModel.named(name).tensor("w", DType.F32, Shape.of(1), weight).build();
  }

  /** Items 0 to 99, of which those below the model's weight are right. */
  private static double[] upToTheWeight(ModelVersion model) throws IOException {
    double weight = MemoryModel.values(model, "w")[0];
    return IntStream.range(0, 100).mapToDouble(i -> i < weight ? 1 : 0).toArray();
  }

  private static double[] fromTheWeightOn(ModelVersion model) throws IOException {
    double weight = MemoryModel.values(model, "w")[0];
    return IntStream.range(0, 50).mapToDouble(i -> i >= weight ? 1 : 0).toArray();
  }

  private static final MemoryModel OLD = model("old", 0);
  private static final Patch PATCH = Patch.from(model("tuned", 80), OLD);
  private static final PortabilityTrial TRIAL = PortabilityTrial.with(PortabilityTrialTest::upToTheWeight);

  @Test
  void recoveryIsTheShareOfWhatThereIsToRecover() throws IOException {
    TrialReport report = TRIAL.withOldBase(OLD).run(PATCH, model("new", -10));

    assertEquals(0, report.noPatch().score());
    assertEquals(0.7, report.ported().score());
    assertEquals(0.8, report.reference().orElseThrow().score());
    assertEquals(0.875, report.recovery().orElseThrow(), 1e-12);
    assertEquals(0.7, report.gain(), 1e-12);
    assertEquals(Verdict.PORT, report.verdict());
    Interval interval = report.recoveryInterval().orElseThrow();
    assertTrue(interval.low() > 0.75 && interval.low() < 0.875 && interval.high() > 0.875 && interval.high() <= 1, interval::toString);
    assertFalse(report.certain());
  }

  @Test
  void theBetterOfReferenceAndRetunedIsTheTarget() throws IOException {
    PortabilityTrial trial = TRIAL.withOldBase(OLD);
    MemoryModel newBase = model("new", -10);
    assertEquals(0.7 / 0.9, trial.withRetuned(model("anew", 90)).run(PATCH, newBase).recovery().orElseThrow(), 1e-12);
    assertEquals(0.7 / 0.8, trial.withRetuned(model("anew", 30)).run(PATCH, newBase).recovery().orElseThrow(), 1e-12);
    assertEquals(Verdict.PORT_AND_TUNE, TRIAL.withRetuned(model("anew", 100)).run(PATCH, model("new", -10)).verdict());
    assertEquals(Verdict.DO_NOT_PORT, TRIAL.withOldBase(OLD).run(PATCH, model("new", -75)).verdict());
  }

  @Test
  void theFineTunedModelOrItsScoresStandForThePatchOnTheOldBase() throws IOException {
    MemoryModel newBase = model("new", -10);
    TrialReport byModel = TRIAL.withOldBase(OLD).withReference(model("tuned", 90)).withPath(1).run(PATCH, newBase);
    assertEquals(0.9, byModel.reference().orElseThrow().score(), 1e-12);
    assertEquals("fine-tuned model", byModel.reference().orElseThrow().name());
    assertEquals(0.7 / 0.9, byModel.recovery().orElseThrow(), 1e-12);
    assertEquals(0.8, byModel.path().get(0).score(), 1e-12);

    double[] stored = upToTheWeight(model("tuned", 70));
    assertEquals(1, TRIAL.withReferenceScores(stored).run(PATCH, newBase).recovery().orElseThrow(), 1e-12);
    assertThrows(IllegalArgumentException.class, () -> TRIAL.withReferenceScores(1, 1, 0).run(PATCH, newBase));
  }

  @Test
  void aModelIsDoneWithBeforeTheNext() throws IOException {
    List<String> order = new ArrayList<>();
    Scoring items = model -> {
      order.add("items of " + MemoryModel.values(model, "w")[0]);
      return new double[] {1};
    };
    Scoring others = model -> {
      order.add("others of " + MemoryModel.values(model, "w")[0]);
      return new double[] {1};
    };
    PortabilityTrial.with(items).withRetain(others).withOldBase(OLD).withScales(1, 0.5).run(PATCH, model("new", 10));

    assertEquals(
        List.of("items of 10.0", "others of 10.0", "items of 90.0", "others of 90.0", "items of 80.0", "items of 50.0"), order);
  }

  @Test
  void withoutATargetTheGainDecides() throws IOException {
    TrialReport gained = TRIAL.run(PATCH, model("new", 0));
    assertTrue(gained.recovery().isEmpty());
    assertEquals(Verdict.PORT, gained.verdict());
    assertTrue(gained.certain());
    assertEquals(Verdict.DO_NOT_PORT, TRIAL.run(PATCH, model("full", 200)).verdict());
    assertEquals(Verdict.PORT_AND_TUNE, TRIAL.run(PATCH.scaledBy(1 / 80.0), model("new", 10)).verdict());
  }

  @Test
  void flipsAreCountedOnBothSets() throws IOException {
    TrialReport report = TRIAL.withRetain(PortabilityTrialTest::fromTheWeightOn).run(PATCH.negate(), model("new", 30));

    assertEquals(new TrialFlips(100, 30, 0), report.flips());
    assertEquals(0.3, report.flips().negativeShare());
    assertEquals(0.4, report.retainNoPatch().orElseThrow().score(), 1e-12);
    assertEquals(new TrialFlips(50, 0, 30), report.retainFlips().orElseThrow());
  }

  @Test
  void sweepsGoThroughScalesAndFromOldToNew() throws IOException {
    TrialReport report = TRIAL.withOldBase(OLD).withScales(0.5, 1, 1.25).withPath(4).run(PATCH, model("new", -40));

    assertEquals(List.of(new TrialPoint(0.5, 0), new TrialPoint(1, 0.4), new TrialPoint(1.25, 0.6)), report.scales());
    assertEquals(1.25, report.bestScale());
    assertEquals(
        List.of(
            new TrialPoint(0, 0.8),
            new TrialPoint(0.25, 0.7),
            new TrialPoint(0.5, 0.6),
            new TrialPoint(0.75, 0.5),
            new TrialPoint(1, 0.4)),
        report.path());
    assertThrows(IllegalStateException.class, () -> TRIAL.withPath(2).run(PATCH, OLD));
  }

  @Test
  void missedLimitsFailTogether() throws IOException {
    TrialReport report = TRIAL.withOldBase(OLD).withRetain(PortabilityTrialTest::fromTheWeightOn).run(PATCH, model("new", -10));

    assertSame(report, report.require(TrialLimits.none().recovery(0.8).score(0.7).negativeFlips(1)));
    TrialFailedException failure =
        assertThrows(TrialFailedException.class, () -> report.require(TrialLimits.none().recovery(0.9).retained(0.5).negativeFlips(0.1)));
    assertEquals(
        List.of(
            "recovery must be at least 0.9 but is 0.875",
            "score on the items to retain must be at least 0.5 but is 0.000",
            "at most 0.1 of the items to retain may turn from right to wrong but 50 of 50 do"),
        failure.failures());
    TrialReport bare = TRIAL.run(PATCH, model("new", -10));
    assertThrows(TrialFailedException.class, () -> bare.require(TrialLimits.none().recovery(0)));
  }

  @Test
  void intervalsAreSeededAndNarrowWithItems() throws IOException {
    TrialReport first = TRIAL.withOldBase(OLD).run(PATCH, model("new", -10));
    assertEquals(first, TRIAL.withOldBase(OLD).run(PATCH, model("new", -10)));
    Scoring many = model -> {
      double weight = MemoryModel.values(model, "w")[0];
      return IntStream.range(0, 10_000).mapToDouble(i -> i % 100 < weight ? 1 : 0).toArray();
    };
    Interval few = first.gainInterval();
    Interval narrow = PortabilityTrial.with(many).run(PATCH, model("new", -10)).gainInterval();
    assertEquals(0.1, (narrow.high() - narrow.low()) / (few.high() - few.low()), 0.03);
  }

  /** 70 of 100: the interval of Wilson's is [0.6042, 0.7811], as Newcombe (1998) and R's prop.test without correction give it. */
  @Test
  void intervalsOfArmsAreWilsons() throws IOException {
    Interval interval = TRIAL.run(PATCH, model("new", -10)).ported().interval();

    assertEquals(0.6042, interval.low(), 5e-5);
    assertEquals(0.7811, interval.high(), 5e-5);
  }

  @Test
  void scoresThatAreNoneAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> PortabilityTrial.with(model -> new double[0]).run(PATCH, OLD));
    assertThrows(IllegalArgumentException.class, () -> PortabilityTrial.with(model -> new double[] {2}).run(PATCH, OLD));
    assertThrows(IllegalArgumentException.class, () -> PortabilityTrial.with(model -> new double[] {Double.NaN}).run(PATCH, OLD));
    int[] calls = {0};
    assertThrows(IllegalArgumentException.class, () -> PortabilityTrial.with(model -> new double[++calls[0]]).run(PATCH, OLD));
  }

  @Test
  void theAdviceFollowsFromTheFigures() throws IOException {
    PortabilityTrial withBase = TRIAL.withOldBase(OLD);
    assertEquals("Use the port: it recovers 87.5 % of what there is to recover.", withBase.run(PATCH, model("new", -10)).advice());
    assertEquals(
        "Tune the port before it is used: it recovers 50.0 % of what there is to recover. With the patch times 1.25 it scores higher.",
        withBase.withScales(0.5, 1.25).run(PATCH, model("new", -40)).advice());
    assertEquals(
        "Tune the patch anew on this base: the port recovers 6.25 % of what there is to recover.",
        withBase.run(PATCH, model("new", -75)).advice());
    assertEquals(
        "Use the port: it scores higher than the new base alone. But it costs 50 of the 50 items to retain.",
        TRIAL.withRetain(PortabilityTrialTest::fromTheWeightOn).run(PATCH, model("new", 0)).advice());
    assertEquals(
        "Score more items: the port may or may not score higher than the new base alone.",
        TRIAL.run(PATCH.scaledBy(1 / 80.0), model("new", 10)).advice());
    assertEquals(
        "Tune the patch anew on this base: the port does not score higher than the new base alone.",
        TRIAL.run(PATCH, model("full", 200)).advice());
  }

  @Test
  void theTextHasEveryArm() throws IOException {
    String text =
        TRIAL.withOldBase(OLD).withRetuned(model("anew", 70)).withRetain(PortabilityTrialTest::fromTheWeightOn).withScales(1).withPath(1)
            .run(PATCH, model("new", -10)).toString();

    for (String part :
        List.of("PORT", "no patch", "ported", "old base with the patch", "re-tuned", "to retain", "recovery", "flips", "scale", "path")) {
      assertTrue(text.contains(part), part + " in " + text);
    }
  }
}
