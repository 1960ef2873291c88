package io.portllm.bench.lab;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.Patch;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.PortabilityTrial;
import io.portllm.portability.TrialReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What portability reports say of the lab's models. The whole table, with all prompts, is {@link LabMain}'s. */
class LabTest {
  private static final Path FOLDER = Path.of("../../shared/lab");

  /** Enough to tell 92 % from 38 % and from nothing. */
  private static final int PROMPTS = 40;

  /** Accuracies of {@link LabMain}'s table that are not about zero. */
  private static final Map<String, Double> ON_PERMUTED =
      Map.of("climbs-lora on v2, heads permuted", 9.6, "climbs-lora on v2, units permuted", 22.4);

  private Lab lab;

  @BeforeEach
  void open() throws IOException {
    assumeTrue(Files.isRegularFile(FOLDER.resolve("results.json")), "the lab is not here");
    lab = new Lab(FOLDER, Optional.empty(), PROMPTS);
  }

  @AfterEach
  void close() throws IOException {
    if (lab != null) {
      lab.close();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"climbs-lora", "summit-lora", "backward-lora", "revinc-lora", "climbs-full"})
  void theOldLineIsToldFromIndependentAndPermutedBases(String name) throws IOException {
    Patch patch = lab.patch(name);
    for (String base : List.of("v1", "v2", "v3", "v4", "v2-lora", "v2-hot")) {
      assertNotEquals(Verdict.DO_NOT_PORT, patch.checkAgainst(lab.model(base)).verdict(), base);
    }
    for (String base : List.of("independent", "v2 permuted", "v2, heads permuted", "v2, units permuted", "v1 permuted")) {
      assertEquals(Verdict.DO_NOT_PORT, patch.checkAgainst(lab.model(base)).verdict(), base);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"climbs-lora", "summit-lora", "backward-lora", "revinc-lora"})
  void theUpdateWithTheHighLearningRateIsToldFromTheOthers(String name) throws IOException {
    Patch patch = lab.patch(name);
    PortabilityReport hot = patch.checkAgainst(lab.model("v2-hot"));

    assertEquals(Verdict.PORT_AND_TUNE, hot.verdict());
    for (String base : List.of("v2", "v3", "v4", "v2-lora")) {
      PortabilityReport report = patch.checkAgainst(lab.model(base));
      assertEquals(Verdict.PORT, report.verdict(), base);
      assertTrue(report.score().orElseThrow() > hot.score().orElseThrow() + 0.2, base);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"climbs-lora", "summit-lora", "backward-lora", "revinc-lora"})
  void scoresOrderTheBasesMuchAsRecoveredAccuracyDoes(String name) throws IOException {
    Patch patch = lab.patch(name);
    List<Double> scores = new ArrayList<>();
    List<Double> accuracies = new ArrayList<>();
    for (String base : Lab.BASES) {
      scores.add(patch.checkAgainst(lab.model(base)).score().orElseThrow());
      accuracies.add(lab.measured(name.replace("-lora", ""), base, "port_lora").orElseThrow());
    }
    for (String base : Lab.PERMUTED) {
      scores.add(patch.checkAgainst(lab.model(base)).score().orElseThrow());
      accuracies.add(ON_PERMUTED.getOrDefault(name + " on " + base, 0.0));
    }
    double correlation = RankCorrelation.of(scores, accuracies);
    assertTrue(correlation >= 0.8, name + ": " + correlation);
  }

  @Test
  void trialsOnThePromptsTellWhatTheFiguresCannot() throws IOException {
    LabCell climbs = lab.cell("climbs-lora", lab.patch("climbs-lora"), "v2");
    LabCell backward = lab.cell("backward-lora", lab.patch("backward-lora"), "v2");

    assertEquals(climbs.report().verdict(), backward.report().verdict());
    assertEquals(Verdict.PORT, climbs.trial().verdict());
    assertEquals(Verdict.DO_NOT_PORT, backward.trial().verdict());
    assertEquals(climbs.right().orElseThrow(), climbs.trial().verdict());
    assertEquals(backward.right().orElseThrow(), backward.trial().verdict());
  }

  @Test
  void aPermutedModelAnswersAsItsOriginalDoes() throws IOException {
    Patch patch = lab.patch("climbs-lora");
    TrialReport trial = PortabilityTrial.with(lab.scoring("climbs")).run(patch.scaledBy(0), lab.model("v2 permuted"));
    assertEquals(0, trial.flips().negative());

    // v1 knows the word's meaning once the patch is in it, wherever its units lie.
    double[] tuned = lab.scoring("climbs").score(patch.applyTo(lab.model("v1")));
    double[] turned = lab.scoring("climbs").score(new PermutedModel(patch.applyTo(lab.model("v1")), "turned", true, true));
    assertArrayEquals(tuned, turned);
  }

  @Test
  void theChainOfUpdatesHasNoTurnAndTheLeapHas() throws IOException {
    PortabilityCheck check = PortabilityCheck.defaults();
    Patch patch = lab.patch("climbs-lora");

    ChainReport line = check.checkChain(patch, List.of(lab.model("v2"), lab.model("v3"), lab.model("v4")));
    assertTrue(line.turn().isEmpty(), line::toString);
    assertEquals(2, check.checkChain(patch, List.of(lab.model("v2"), lab.model("v3"), lab.model("v2-hot"))).turn().orElseThrow());
  }

  /** Values of R's cor(method = "spearman"). */
  @Test
  void ranksCorrelateAsSpearmanSays() {
    assertEquals(1, RankCorrelation.of(List.of(1.0, 2.0, 5.0), List.of(10.0, 11.0, 12.0)), 1e-12);
    assertEquals(-0.5, RankCorrelation.of(List.of(1.0, 2.0, 3.0), List.of(3.0, 1.0, 2.0)), 1e-12);
    assertEquals(0.9486832980505138, RankCorrelation.of(List.of(1.0, 2.0, 2.0, 3.0), List.of(1.0, 2.0, 3.0, 4.0)), 1e-12);
  }
}
