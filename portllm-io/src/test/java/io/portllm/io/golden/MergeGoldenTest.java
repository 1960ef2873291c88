package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.merge.Combination;
import io.portllm.merge.MergeMethod;
import io.portllm.merge.MergeMethod.Scope;
import io.portllm.merge.Merging;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Merged patches put on their base against what mergekit, PEFT and the papers' formulas give: on four tensors cut out by
 * {@code tools/golden_merges.py}, and on all where the shared goldens are present.
 */
class MergeGoldenTest {
  private static final Path SHARED = Path.of("../../shared/golden/merge");
  private static final List<Double> WEIGHTS = List.of(0.5, 0.3, 0.2);
  private static final List<Double> ONES = List.of(1.0, 1.0, 1.0);

  @TempDir private Path scratch;

  /** The base and its three fine-tunes. */
  private record Family(ModelVersion base, List<ModelVersion> tuned) implements AutoCloseable {
    static Family open(Path folder) throws IOException {
      List<ModelVersion> tuned = new ArrayList<>();
      for (String name : List.of("ft1", "ft2", "ft3")) {
        tuned.add(Checkpoints.open(folder.resolve(name)));
      }
      return new Family(Checkpoints.open(folder.resolve("base")), tuned);
    }

    List<Patch> patches() {
      return tuned.stream().map(model -> Patch.from(model, base)).toList();
    }

    @Override
    public void close() throws IOException {
      base.close();
      for (ModelVersion model : tuned) {
        model.close();
      }
    }
  }

  /** Every deterministic case that is a merge of changes. */
  static Stream<Arguments> cases() {
    return Stream.of(
        // mergekit's task arithmetic; lambda is a factor of every weight.
        Arguments.of("task_arithmetic-lambda1", WEIGHTS, new MergeMethod.Sum()),
        Arguments.of("task_arithmetic-lambda0.7", List.of(0.35, 0.21, 0.14), new MergeMethod.Sum()),
        Arguments.of("linear-w1_.7_.4-norm1", List.of(1.0, 0.7, 0.4), new MergeMethod.Linear()),
        Arguments.of("ties-d0.3-norm1", WEIGHTS, new MergeMethod.Ties(0.3, Scope.TENSOR, Combination.ELECTED_MEAN)),
        Arguments.of("ties-d0.3-norm0", WEIGHTS, new MergeMethod.Ties(0.3, Scope.TENSOR, Combination.ELECTED_SUM)),
        Arguments.of("ties-d0.5-norm1", WEIGHTS, new MergeMethod.Ties(0.5, Scope.TENSOR, Combination.ELECTED_MEAN)),
        Arguments.of("ties-d0.5-norm0", WEIGHTS, new MergeMethod.Ties(0.5, Scope.TENSOR, Combination.ELECTED_SUM)),
        // The formula: mergekit aborts where a share is less than one element.
        Arguments.of("ties-d0.01-norm1", WEIGHTS, new MergeMethod.Ties(0.01, Scope.TENSOR, Combination.ELECTED_MEAN)),
        // The formula: mergekit drops the whole change where gamma is less than one element.
        Arguments.of("breadcrumbs-g.01-d.9-formula", WEIGHTS, new MergeMethod.Breadcrumbs(0.9, 0.01)),
        Arguments.of("breadcrumbs_ties-g.01-d.9-formula", WEIGHTS, new MergeMethod.Breadcrumbs(0.9, 0.01, Combination.ELECTED_SUM)),
        Arguments.of("dare_ties-d1", WEIGHTS, new MergeMethod.Dare(1, 0, Combination.ELECTED_SUM)),
        Arguments.of("task_arithmetic-lambda1", WEIGHTS, new MergeMethod.Dare(1, 0)),
        Arguments.of("della-d1", WEIGHTS, new MergeMethod.Della(1, 0.3, 0)),
        Arguments.of("task_arithmetic-lambda1", WEIGHTS, new MergeMethod.Della(1, 0.3, 0, Combination.SUM)),
        Arguments.of("nuslerp-w.6_.4-base-ft1_ft2", List.of(0.6, 0.4), new MergeMethod.Slerp()),
        Arguments.of("nuslerp-w.6_.4-base-rows-ft1_ft2", List.of(0.6, 0.4), new MergeMethod.Slerp(true)),
        Arguments.of("sce-topk0.5", ONES, new MergeMethod.Sce(0.5)),
        Arguments.of("sce-topk1", ONES, new MergeMethod.Sce(1)),
        Arguments.of("model_stock", ONES, new MergeMethod.ModelStock()),
        Arguments.of("model_stock-filter_wise", ONES, new MergeMethod.ModelStock(true)));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void aMergeIsTheGolden(String golden, List<Double> weights, MergeMethod method) throws IOException {
    assertGolden(Goldens.path("merges"), golden, weights, method);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void aMergeIsTheGoldenOnEveryTensor(String golden, List<Double> weights, MergeMethod method) throws IOException {
    assumeTrue(Files.isDirectory(SHARED), "the shared goldens are not here");
    assertGolden(SHARED, golden, weights, method);
  }

  /** The published TIES trims a whole patch at once, which no golden of four tensors can show. */
  @Test
  void tiesOfWholePatchesIsThePapersAndNotMergekits() throws IOException {
    assumeTrue(Files.isDirectory(SHARED), "the shared goldens are not here");
    assertGolden(SHARED, "ties_paper_global-d0.3", ONES, new MergeMethod.Ties(0.3));
  }

  /** mergekit's linear merge of three models with weights of 1, 1 and -1 is a port. */
  @Test
  void aPortIsMergekitsSumOfModels() throws IOException {
    assumeTrue(Files.isDirectory(SHARED), "the shared goldens are not here");
    try (Family family = Family.open(SHARED);
        ModelVersion expected = Checkpoints.open(SHARED.resolve("expected/linear-port-ft3_plus_ft1_minus_base.safetensors"))) {
      assertClose(expected, family.patches().get(0).applyTo(family.tuned().get(2)));
    }
  }

  @Test
  void aSavedMergeIsTheGolden() throws IOException {
    Path folder = Goldens.path("merges");
    Path file = scratch.resolve("merged.patch.safetensors");
    MergeMethod method = new MergeMethod.Ties(0.3, Scope.TENSOR, Combination.ELECTED_MEAN);
    try (Family family = Family.open(folder)) {
      PatchFile.write(Merging.merge(family.patches(), WEIGHTS, method), file);
    }
    try (PatchFile saved = PatchFile.open(file);
        ModelVersion base = Checkpoints.open(folder.resolve("base"));
        ModelVersion expected = Checkpoints.open(folder.resolve("expected/ties-d0.3-norm1.safetensors"))) {
      assertTrue(saved.patch().recipe().startsWith("ties(density 0.3 of each tensor, elected mean)[0.5 * ("), saved.patch().recipe());
      assertTrue(saved.patch().base().isPresent());
      assertClose(expected, saved.patch().applyTo(base));
    }
  }

  static Stream<Arguments> recompressed() {
    return Stream.of(
        Arguments.of("peft-cat", new MergeMethod.Sum(), 11),
        Arguments.of("peft-svd", new MergeMethod.Sum(), 6),
        // PEFT's pruning by magnitude is breadcrumbs that drops nothing from the top.
        Arguments.of("peft-magnitude_prune_svd", new MergeMethod.Breadcrumbs(0.5, 0, Combination.SUM), 6),
        // PEFT elects signs without weights and divides by the number that agrees.
        Arguments.of("peft-ties_svd", new MergeMethod.Ties(0.5, Scope.TENSOR, Combination.COUNTED_MEAN), 6));
  }

  /** PEFT's combinations of adapters: merged, and cut to a rank again. */
  @ParameterizedTest
  @MethodSource("recompressed")
  void aMergeOfAdaptersCutToARankIsPefts(String golden, MergeMethod method, int rank) throws IOException {
    assertAdapters(Goldens.path("merges"), golden, method, rank, 1);
  }

  @ParameterizedTest
  @MethodSource("recompressed")
  void aMergeOfAdaptersCutToARankIsPeftsOnEveryTensor(String golden, MergeMethod method, int rank) throws IOException {
    assumeTrue(Files.isDirectory(SHARED), "the shared goldens are not here");
    assertAdapters(SHARED, golden, method, rank, 4);
  }

  private static void assertAdapters(Path folder, String golden, MergeMethod method, int rank, int tensors) throws IOException {
    try (PeftAdapter a = PeftAdapter.open(folder.resolve("lora_a"));
        PeftAdapter b = PeftAdapter.open(folder.resolve("lora_b"));
        ModelVersion expected = Checkpoints.open(folder.resolve("expected/" + golden + ".safetensors"))) {
      Patch merged = Merging.merge(List.of(a.patch(), b.patch()), List.of(0.6, 0.4), method);
      Patch cut = LowRankExtraction.by(RankRule.rank(rank)).of(merged).patch();
      assertTrue(expected.tensors().size() >= tensors, expected.tensors().size() + " tensors");
      for (TensorInfo tensor : expected.tensors()) {
        float[] wanted = floats(expected, tensor);
        float[] found = new float[wanted.length];
        new RowEvaluator(cut.deltas().get(tensor.name())).read(0, (int) tensor.shape().rows(), found);
        double greatest = IntStream.range(0, wanted.length).mapToDouble(i -> Math.abs(wanted[i])).max().orElseThrow();
        for (int i = 0; i < wanted.length; i++) {
          assertEquals(wanted[i], found[i], 1e-5 * greatest, tensor.name() + " element " + i);
        }
      }
    }
  }

  static Stream<Arguments> randomCases() {
    return Stream.of(
        Arguments.of("dare_linear-d.5-moments", (Seeded) seed -> new MergeMethod.Dare(0.5, seed)),
        Arguments.of("dare_ties-d.5-moments", (Seeded) seed -> new MergeMethod.Dare(0.5, seed, Combination.ELECTED_SUM)),
        // mergekit's epsilon of 0.15 is half the window. Its own DELLA, which scales by a ratio of norms, fails this test.
        Arguments.of("della_linear-d.5-e.15-moments", (Seeded) seed -> new MergeMethod.Della(0.5, 0.3, seed, Combination.SUM)),
        Arguments.of("della-d.5-e.15-moments", (Seeded) seed -> new MergeMethod.Della(0.5, 0.3, seed)));
  }

  private interface Seeded {
    MergeMethod of(long seed);
  }

  /**
   * The papers scale by 1/density (DARE) and 1/pᵢ (DELLA), mergekit by a ratio of norms: over many seeds the mean of each weight is the
   * exact mean of the paper's method, as far as its exact deviation lets it be.
   */
  @ParameterizedTest
  @MethodSource("randomCases")
  void randomMergesHaveThePapersMean(String golden, Seeded method) throws IOException {
    int seeds = 100;
    Path folder = Files.isDirectory(SHARED) ? SHARED : Goldens.path("merges");
    try (Family family = Family.open(folder);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected/" + golden + ".safetensors"))) {
      List<String> names = expected.tensors().stream()
          .map(TensorInfo::name)
          .filter(name -> name.endsWith(".mean"))
          .map(name -> name.substring(0, name.length() - ".mean".length()))
          .toList();
      assertTrue(names.size() >= 4);
      Map<String, double[]> sums = new HashMap<>();
      for (int seed = 0; seed < seeds; seed++) {
        ModelVersion merged = Merging.merge(family.patches(), WEIGHTS, method.of(seed)).applyTo(family.base());
        for (String name : names) {
          float[] values = floats(merged, merged.find(name).orElseThrow());
          double[] sum = sums.computeIfAbsent(name, key -> new double[values.length]);
          IntStream.range(0, values.length).forEach(i -> sum[i] += values[i]);
        }
      }
      double squares = 0;
      double worst = 0;
      int random = 0;
      for (String name : names) {
        float[] mean = floats(expected, expected.find(name + ".mean").orElseThrow());
        float[] deviation = floats(expected, expected.find(name + ".std").orElseThrow());
        for (int i = 0; i < mean.length; i++) {
          double average = sums.get(name)[i] / seeds;
          if (deviation[i] > 1e-5) {
            double z = (average - mean[i]) / deviation[i] * Math.sqrt(seeds);
            squares += z * z;
            worst = Math.max(worst, Math.abs(z));
            random++;
          } else if (deviation[i] == 0) {
            assertEquals(mean[i], average, 2e-7, name + " element " + i);
          }
        }
      }
      assertTrue(random > 3000, random + " random weights");
      assertEquals(1, squares / random, 0.06, "mean of z squared over " + random);
      assertTrue(worst < 6.5, "greatest z " + worst);
    }
  }

  private static void assertGolden(Path folder, String golden, List<Double> weights, MergeMethod method) throws IOException {
    try (Family family = Family.open(folder);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected/" + golden + ".safetensors"))) {
      Patch merged = Merging.merge(family.patches().subList(0, weights.size()), weights, method);
      assertClose(expected, merged.applyTo(family.base()));
    }
  }

  /** The manifest's tolerance: 2e-7 + 2e-6·|expected| (6e-7 where mergekit works on whole weights), and 1e-6 of the tensor's greatest. */
  private static void assertClose(ModelVersion expected, ModelVersion actual) throws IOException {
    assertTrue(expected.tensors().size() >= 4);
    for (TensorInfo tensor : expected.tensors()) {
      float[] wanted = floats(expected, tensor);
      float[] found = floats(actual, actual.find(tensor.name()).orElseThrow());
      double greatest = IntStream.range(0, wanted.length).mapToDouble(i -> Math.abs(wanted[i])).max().orElseThrow();
      for (int i = 0; i < wanted.length; i++) {
        double tolerance = Math.min(6e-7 + 2e-6 * Math.abs(wanted[i]), 1e-6 * greatest);
        assertEquals(wanted[i], found[i], tolerance, tensor.name() + " element " + i);
      }
    }
  }

  private static float[] floats(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer bytes = Goldens.bytes(model, tensor);
    float[] values = new float[Math.toIntExact(tensor.elements())];
    bytes.asFloatBuffer().get(values);
    return values;
  }
}
