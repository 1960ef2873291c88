package io.portllm.portability;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PortabilityCheckTest {
  private static final Shape MATRIX = Shape.of(96, 64);
  private static final String NAME = "model.layers.3.self_attn.q_proj.weight";

  /** A model of one matrix and one vector. */
  private static MemoryModel model(String name, DType type, double[] matrix) {
    return builder(name, type, matrix).build();
  }

  private static MemoryModel.Builder builder(String name, DType type, double[] matrix) {
    double[] ones = IntStream.range(0, 64).mapToDouble(i -> 1 + i / 64.0).toArray();
    return MemoryModel.named(name).tensor(NAME, type, MATRIX, matrix).tensor("model.norm.weight", type, Shape.of(64), ones);
  }

  private static double[] random(long seed, double size) {
    Random random = new Random(seed);
    return IntStream.range(0, 96 * 64).mapToDouble(i -> random.nextGaussian() * size).toArray();
  }

  private static double[] plus(double[] one, double[] other) {
    return IntStream.range(0, one.length).mapToDouble(i -> one[i] + other[i]).toArray();
  }

  /** A patch that changes the matrix by a hundredth of its size. */
  private static Patch patch(MemoryModel base, double[] weights) {
    return Patch.from(model("tuned", DType.F32, plus(weights, random(7, 0.05))), base);
  }

  @Test
  void theSameBaseIsSafe() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("copy", DType.F32, weights));

    assertEquals(Verdict.PORT, report.verdict());
    assertEquals(Confidence.HIGH, report.confidence());
    assertEquals(Lineage.Kind.SAME, report.lineage().kind());
    assertEquals(1, report.score().orElseThrow());
    assertEquals(Double.POSITIVE_INFINITY, report.patched().meeting().orElseThrow().ratio());
  }

  @Test
  void aSmallUpdateAndASmallPatchPort() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("new", DType.F32, plus(weights, random(3, 0.02))));

    assertEquals(Verdict.PORT, report.verdict());
    assertEquals(Confidence.MEDIUM, report.confidence());
    assertEquals(Lineage.Kind.RELATED, report.lineage().kind());
    assertEquals(0.02, report.patched().update().orElseThrow().drift(), 1e-3);
    assertEquals(2.5, report.patched().meeting().orElseThrow().ratio(), 0.1);
  }

  @Test
  void anUpdateGreaterThanThePatchNeedsTuning() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("new", DType.F32, plus(weights, random(3, 0.1))));

    assertEquals(Verdict.PORT_AND_TUNE, report.verdict());
    assertTrue(report.reasons().stream().anyMatch(reason -> reason.contains("outweighs")), report.reasons()::toString);
  }

  @Test
  void anIndependentBaseIsNotPortedTo() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("other", DType.F32, random(2, 1)));

    assertEquals(Verdict.DO_NOT_PORT, report.verdict());
    assertEquals(Confidence.HIGH, report.confidence());
    assertEquals(Lineage.Kind.UNRELATED, report.lineage().kind());
    assertEquals(0, report.score().orElseThrow());
    assertEquals(NAME, report.lineage().leastTensor().orElseThrow());
  }

  @Test
  void reorderedUnitsAreFound() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    double[] turned = new double[weights.length];
    double[] few = weights.clone();
    for (int row = 0; row < 96; row++) {
      System.arraycopy(weights, row * 64, turned, (95 - row) * 64, 64);
    }
    System.arraycopy(weights, 0, few, 64, 64);
    System.arraycopy(weights, 64, few, 0, 64);

    assertEquals(Verdict.DO_NOT_PORT, patch(base, weights).checkAgainst(model("turned", DType.F32, turned)).verdict());
    PortabilityReport report = patch(base, weights).checkAgainst(model("few", DType.F32, few));
    assertEquals(Verdict.PORT_AND_TUNE, report.verdict());
    assertEquals(2.0 / 96, report.patched().update().orElseThrow().displacedRows().orElseThrow());
  }

  @Test
  void anUpdateOfLowRankIsNotSpread() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    double[] rankTwo = new double[weights.length];
    Random random = new Random(11);
    for (int k = 0; k < 2; k++) {
      double[] left = IntStream.range(0, 96).mapToDouble(i -> random.nextGaussian()).toArray();
      double[] right = IntStream.range(0, 64).mapToDouble(i -> random.nextGaussian()).toArray();
      for (int i = 0; i < rankTwo.length; i++) {
        rankTwo[i] += 0.02 * left[i / 64] * right[i % 64];
      }
    }

    PortabilityReport lora = patch(base, weights).checkAgainst(model("lora", DType.F64, plus(weights, rankTwo)));
    PortabilityReport full = patch(base, weights).checkAgainst(model("full", DType.F32, plus(weights, random(3, 0.03))));
    TensorReport.Update narrow = lora.patched().update().orElseThrow();
    TensorReport.Update wide = full.patched().update().orElseThrow();

    // The old weights are F32, so the difference is not quite of rank two.
    assertTrue(narrow.spread() < 1e-4 * narrow.drift(), narrow::toString);
    assertTrue(wide.spread() > 0.5 * wide.drift(), wide::toString);
  }

  @Test
  void whatRoundingSwallowsIsCountedWithoutWriting() throws IOException {
    double[] weights = IntStream.range(0, 96 * 64).mapToDouble(i -> 1.5).toArray();
    double[] changes = IntStream.range(0, 96 * 64).mapToDouble(i -> i % 4 == 0 ? 1 : 1e-4).toArray();
    MemoryModel base = model("old", DType.BF16, weights);
    Patch patch = Patch.of(
        Map.of(NAME, new Delta.Dense(MemoryModel.tensor(DType.F32, MATRIX, changes))), Optional.of(PatchBase.of(base)), "small");

    PortabilityReport report = patch.checkAgainst(model("new", DType.BF16, weights));

    assertEquals(96 * 64, report.patched().change().orElseThrow().rounding().touched());
    assertEquals(96 * 48, report.patched().change().orElseThrow().rounding().vanished());
    assertTrue(report.findings().stream().anyMatch(finding -> finding.what().contains("75.0 %")), report.findings()::toString);
  }

  @Test
  void overflowBlocksThePort() throws IOException {
    double[] weights = IntStream.range(0, 96 * 64).mapToDouble(i -> 60000).toArray();
    MemoryModel base = model("old", DType.F32, weights);
    Patch patch = Patch.from(model("tuned", DType.F32, IntStream.range(0, 96 * 64).mapToDouble(i -> 70000).toArray()), base);

    PortabilityReport report = patch.checkAgainst(model("half", DType.F16, weights));

    assertEquals(Verdict.DO_NOT_PORT, report.verdict());
    assertEquals(Finding.Severity.BLOCKING, report.findings().get(0).severity());
    assertTrue(report.findings().get(0).what().contains("6144 weights"), report.findings()::toString);
  }

  @Test
  void everyMismatchIsAFinding() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    ModelVersion other = MemoryModel.named("other").f32(NAME, Shape.of(64, 96), weights).f32("extra.weight", Shape.of(2), 1, 2).build();

    PortabilityReport report = patch(base, weights).checkAgainst(other);

    assertEquals(Verdict.DO_NOT_PORT, report.verdict());
    assertEquals(Confidence.HIGH, report.confidence());
    String all = report.findings().toString();
    assertTrue(all.contains("[96, 64]") && all.contains("[64, 96]"), all);
    assertTrue(all.contains("extra.weight") && all.contains("model.norm.weight"), all);
  }

  @Test
  void settingsThatDecideWhatWeightsMeanAreCompared() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base =
        builder("old", DType.F32, weights)
            .config("rope_parameters.rope_theta", "10000.0")
            .config("num_attention_heads", "4")
            .config("rms_norm_eps", "1e-05")
            .config("transformers_version", "4")
            .build();
    MemoryModel newBase =
        builder("new", DType.F32, plus(weights, random(3, 0.02)))
            .config("rope_parameters.rope_theta", "500000.0")
            .config("num_attention_heads", "4")
            .config("rms_norm_eps", "0.00001")
            .config("transformers_version", "5")
            .build();

    PortabilityReport report = patch(base, weights).checkAgainst(newBase);

    assertEquals(Verdict.PORT_AND_TUNE, report.verdict());
    assertEquals(1, report.findings().size(), report.findings()::toString);
    assertTrue(report.findings().get(0).what().contains("rope_theta") && report.findings().get(0).what().contains("500000"));
  }

  @Test
  void withoutTheOldBaseThereIsNoScore() throws IOException {
    Delta change = new Delta.Dense(MemoryModel.tensor(DType.F32, MATRIX, random(7, 0.05)));
    Patch patch = Patch.of(Map.of(NAME, change), Optional.empty(), "adapter");
    MemoryModel newBase = model("new", DType.F32, random(1, 1));

    PortabilityReport report = patch.checkAgainst(newBase);

    assertEquals(Verdict.PORT_AND_TUNE, report.verdict());
    assertEquals(Confidence.LOW, report.confidence());
    assertTrue(report.score().isEmpty());
    assertEquals(PortabilityReport.Evidence.NONE, report.evidence());
    assertEquals(Lineage.Kind.UNKNOWN, report.lineage().kind());
    assertEquals(0.05, report.patched().change().orElseThrow().relative(), 2e-3);
    assertEquals(Verdict.PORT, patch.checkAgainst(newBase, model("old", DType.F32, plus(random(1, 1), random(3, 0.01)))).verdict());
  }

  @Test
  void anExactPatchFitsItsBaseAlone() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    Patch exact = Patch.exact(model("tuned", DType.F32, plus(weights, random(7, 0.05))), base);

    assertEquals(Verdict.PORT, exact.checkAgainst(model("copy", DType.F32, weights)).verdict());
    PortabilityReport report = exact.checkAgainst(model("new", DType.F32, plus(weights, random(3, 0.001))));
    assertEquals(Verdict.DO_NOT_PORT, report.verdict());
    assertTrue(report.reasons().get(0).contains("exact"), report.reasons()::toString);
  }

  @Test
  void replacementsCountAsWhatTheyMakeOfTheWeights() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    double[] head = plus(weights, random(7, 0.05));
    Patch patch = Patch.of(
        Map.of(NAME, new Delta.Replacement(MemoryModel.tensor(DType.F32, MATRIX, head))), Optional.of(PatchBase.of(base)), "head");

    PortabilityReport report = patch.checkAgainst(model("copy", DType.F32, weights));

    assertEquals(0.05, report.patched().change().orElseThrow().relative(), 2e-3);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void sumsAreThoseOfPlainLoops(DType type) throws IOException {
    MemoryModel base = model("old", type, random(1, 1));
    MemoryModel newBase = model("new", type, plus(random(1, 1), random(3, 0.3)));
    MemoryModel tuned = model("tuned", type, plus(random(1, 1), random(7, 0.3)));

    PortabilityReport report = Patch.from(tuned, base).checkAgainst(newBase);

    double[] old = MemoryModel.values(base, NAME);
    double[] fresh = MemoryModel.values(newBase, NAME);
    double[] made = MemoryModel.values(tuned, NAME);
    double updates = 0;
    double olds = 0;
    double products = 0;
    double changes = 0;
    int both = 0;
    int conflicts = 0;
    for (int i = 0; i < old.length; i++) {
      double update = fresh[i] - old[i];
      double change = (float) (made[i] - old[i]);
      updates += update * update;
      olds += old[i] * old[i];
      changes += change * change;
      products += change * update;
      both += change * update != 0 ? 1 : 0;
      conflicts += change * update < 0 ? 1 : 0;
    }
    TensorReport found = report.tensors().get(0);
    assertEquals(Math.sqrt(updates / olds), found.update().orElseThrow().drift(), 1e-12);
    assertEquals(Math.sqrt(changes), found.change().orElseThrow().norm(), 1e-12 * Math.sqrt(changes));
    assertEquals(products / Math.sqrt(changes * updates), found.meeting().orElseThrow().cosine(), 1e-12);
    assertEquals((double) conflicts / both, found.meeting().orElseThrow().signConflicts().orElseThrow(), 1e-12);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 8})
  void theReportDoesNotDependOnThreads(int threads) throws IOException {
    MemoryModel.Builder old = MemoryModel.named("old");
    MemoryModel.Builder fresh = MemoryModel.named("new");
    MemoryModel.Builder tuned = MemoryModel.named("tuned");
    for (int i = 0; i < 9; i++) {
      Shape shape = Shape.of(40 + i, 50 - i);
      old.random("layers." + i + ".weight", DType.F32, shape, 1, i);
      fresh.random("layers." + i + ".weight", DType.F32, shape, 1.01, i);
      tuned.random("layers." + i + ".weight", DType.F32, shape, 0.99, i);
    }
    Patch patch = Patch.from(tuned.build(), old.build());
    ModelVersion newBase = fresh.build();

    PortabilityReport expected = PortabilityCheck.defaults().withThreads(1).check(patch, newBase);
    assertEquals(expected, PortabilityCheck.defaults().withThreads(threads).check(patch, newBase));
  }

  @Test
  void weightsThatAreNoNumbersCountAsZero() throws IOException {
    double[] weights = random(1, 1);
    double[] broken = plus(weights, random(3, 0.01));
    broken[5] = Double.NaN;
    broken[6] = Double.POSITIVE_INFINITY;
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("new", DType.F32, broken));

    assertEquals(2, report.patched().nonFinite());
    assertTrue(report.score().orElseThrow() > 0.9);
    assertTrue(report.findings().stream().anyMatch(finding -> finding.what().startsWith("2 weights")), report.findings()::toString);
  }

  @Test
  void aCheckCanBeCancelled() {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);
    PortabilityCheck check = PortabilityCheck.defaults().cancelledWhen(() -> true);

    assertThrows(CancellationException.class, () -> check.check(patch(base, weights), base));
    assertThrows(IllegalArgumentException.class, () -> check.withThreads(0));
  }

  @Test
  void theTextNamesVerdictFiguresAndAdvice() throws IOException {
    double[] weights = random(1, 1);
    MemoryModel base = model("old", DType.F32, weights);

    PortabilityReport report = patch(base, weights).checkAgainst(model("new", DType.F32, plus(weights, random(3, 0.02))));

    String text = report.toString();
    assertTrue(text.startsWith("PORT (confidence: medium)\n"), text);
    assertTrue(text.contains("=> " + report.advice()), text);
    assertTrue(text.contains("'" + NAME + "'"), text);
    assertTrue(text.contains("drift 2.0"), text);
    assertFalse(text.contains("NaN"), text);
  }

  @Test
  void layersAndModulesComeFromNames() throws IOException {
    MemoryModel model =
        MemoryModel.named("m")
            .f32("model.layers.12.mlp.up_proj.weight", Shape.of(1), 1)
            .f32("lm_head.weight", Shape.of(1), 1)
            .f32("h.3.attn.c_attn.bias", Shape.of(1), 1)
            .build();

    PortabilityReport report = Patch.from(model, model).checkAgainst(model);

    assertEquals(12, report.tensors().get(0).layer().orElseThrow());
    assertEquals("mlp.up_proj", report.tensors().get(0).module());
    assertTrue(report.tensors().get(1).layer().isEmpty());
    assertEquals("lm_head", report.tensors().get(1).module());
    assertEquals(3, report.tensors().get(2).layer().orElseThrow());
    assertEquals("attn.c_attn.bias", report.tensors().get(2).module());
  }
}
