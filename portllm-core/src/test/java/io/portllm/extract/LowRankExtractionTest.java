package io.portllm.extract;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.extract.TensorExtract.Form;
import io.portllm.internal.patch.Stacks;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LowRankExtractionTest {
  private static final String NAME = "model.layers.0.mlp.up_proj.weight";

  private static Patch patch(String name, Delta delta) {
    return Patch.of(Map.of(name, delta), Optional.empty(), "test");
  }

  private static Patch dense(String name, Shape shape, double... values) {
    return patch(name, new Delta.Dense(MemoryModel.tensor(DType.F32, shape, values)));
  }

  private static TensorExtract only(Extract extract) {
    assertEquals(1, extract.tensors().size());
    return extract.tensors().get(0);
  }

  /** What {@code patch} adds to its only tensor. */
  private static double[] values(Patch patch, Shape shape) throws IOException {
    String name = patch.deltas().keySet().iterator().next();
    ModelVersion zeros = MemoryModel.named("zeros").f32(name, shape, new double[(int) shape.elements()]).build();
    return MemoryModel.values(patch.applyTo(zeros), name);
  }

  private static double norm(double[] values) {
    return Math.sqrt(Arrays.stream(values).map(x -> x * x).sum());
  }

  /** A matrix with these singular values: reflections, which are orthogonal, on either side of a diagonal. */
  private static double[] withSingularValues(int rows, int columns, double... singular) {
    Random random = new Random(7);
    double[] left = random.doubles(rows, -1, 1).toArray();
    double[] right = random.doubles(columns, -1, 1).toArray();
    double leftSquare = norm(left) * norm(left);
    double rightSquare = norm(right) * norm(right);
    double[] matrix = new double[rows * columns];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        for (int k = 0; k < singular.length; k++) {
          double u = (i == k ? 1 : 0) - 2 * left[i] * left[k] / leftSquare;
          double v = (j == k ? 1 : 0) - 2 * right[j] * right[k] / rightSquare;
          matrix[i * columns + j] += u * singular[k] * v;
        }
      }
    }
    return matrix;
  }

  @ParameterizedTest
  @CsvSource({"200, 150", "150, 200", "300, 20", "20, 300"})
  void theErrorIsThatOfTheSingularValuesLeftOut(int rows, int columns) throws IOException {
    double[] singular = {9, 7, 5, 3, 2, 1, 0.5, 0.25};
    Patch patch = dense(NAME, Shape.of(rows, columns), withSingularValues(rows, columns, singular));
    for (int rank = 1; rank < singular.length; rank++) {
      Extract extract = LowRankExtraction.by(RankRule.rank(rank)).of(patch);
      double left = norm(Arrays.copyOfRange(singular, rank, singular.length));
      assertEquals(rank, only(extract).rank());
      assertEquals(norm(singular), only(extract).norm(), 1e-5);
      assertEquals(left, only(extract).error(), 1e-5);
      assertEquals(left / norm(singular), extract.relativeError(), 1e-6);
    }
  }

  @Test
  void theReportedErrorIsThatOfThePatchAsItIsApplied() throws IOException {
    Shape shape = Shape.of(140, 90);
    Patch patch = patch(NAME, new Delta.Dense(MemoryModel.random(DType.BF16, shape, 0.01, 3)));
    Extract extract = LowRankExtraction.by(RankRule.rank(12)).of(patch);
    double[] before = values(patch, shape);
    double[] after = values(extract.patch(), shape);
    double[] rest = new double[before.length];
    for (int i = 0; i < rest.length; i++) {
      rest[i] = before[i] - after[i];
    }
    assertEquals(norm(rest) / norm(before), only(extract).relativeError(), 1e-6);
    assertTrue(only(extract).relativeError() > 0.5, "noise has no low rank");
  }

  @ParameterizedTest
  @CsvSource({"0.4, 1", "0.5, 2", "0.76, 2", "0.77, 3", "0.9, 3", "0.96, 4", "0.99, 5", "0.998, 6", "0.999, 7", "1, 8"})
  void theRankIsTheLeastThatHoldsTheEnergy(double energy, int rank) throws IOException {
    // Their squares together, as parts of all: .4784, .7678, .9155, .9686, .9923, .9982, .9996, 1.
    double[] singular = {9, 7, 5, 3, 2, 1, 0.5, 0.25};
    Extract extract = LowRankExtraction.by(RankRule.energy(energy)).of(dense(NAME, Shape.of(100, 80), withSingularValues(100, 80, singular)));
    assertEquals(rank, only(extract).rank());
    assertTrue(only(extract).relativeError() <= Math.sqrt(1 - energy) + 1e-6);
  }

  @Test
  void aGreatRankIsFoundByWideningTheSketch() throws IOException {
    double[] singular = new double[200];
    Arrays.fill(singular, 1);
    Patch patch = dense(NAME, Shape.of(500, 450), withSingularValues(500, 450, singular));
    assertEquals(180, only(LowRankExtraction.by(RankRule.energy(0.9)).of(patch)).rank());
  }

  @Test
  void aLimitCutsTheRankAndTheReportSaysWhatIsLost() throws IOException {
    double[] singular = new double[40];
    Arrays.fill(singular, 2);
    Patch patch = dense(NAME, Shape.of(300, 200), withSingularValues(300, 200, singular));
    TensorExtract tensor = only(LowRankExtraction.by(RankRule.energy(0.9).upTo(10)).of(patch));
    assertEquals(10, tensor.rank());
    assertEquals(Math.sqrt(0.75), tensor.relativeError(), 1e-6);
  }

  @Test
  void energyKeepsAChangeWholeThatFactorsWouldNotShorten() throws IOException {
    Shape shape = Shape.of(60, 40);
    Delta delta = new Delta.Dense(MemoryModel.random(DType.F32, shape, 1, 5));
    Extract extract = LowRankExtraction.by(RankRule.energy(1)).of(patch(NAME, delta));
    assertSame(delta, extract.patch().deltas().get(NAME));
    assertEquals(Form.WHOLE, only(extract).form());
    assertEquals(0, extract.relativeError());
    // 24 x (60 + 40) numbers are as many as 60 x 40. A rank that is asked for is given all the same.
    assertEquals(30, only(LowRankExtraction.by(RankRule.rank(30)).of(patch(NAME, delta))).rank());
  }

  @Test
  void fullRankLosesNoMoreThanFloat32() throws IOException {
    Patch patch = patch(NAME, new Delta.Dense(MemoryModel.random(DType.F32, Shape.of(70, 90), 1, 5)));
    Extract extract = LowRankExtraction.by(RankRule.rank(1000)).of(patch);
    assertEquals(70, only(extract).rank());
    assertTrue(extract.relativeError() < 2e-7, () -> "error " + extract.relativeError());
    assertTrue(extract.relativeError() > 0);
  }

  @Test
  void aRankBelowTheOneAskedForIsFound() throws IOException {
    double[] integers = new double[64 * 96];
    for (int i = 0; i < integers.length; i++) {
      integers[i] = (i / 96) % 5 * (i % 96 % 7);
    }
    assertEquals(1, only(LowRankExtraction.by(RankRule.rank(8)).of(dense(NAME, Shape.of(64, 96), integers))).rank());
  }

  @Test
  void tensorsThatDidNotChangeHaveRankZeroAndAreLeftOut() throws IOException {
    Tensor same = MemoryModel.random(DType.BF16, Shape.of(30, 20), 1, 1);
    Extract extract = LowRankExtraction.by(RankRule.rank(4)).of(patch(NAME, new Delta.Difference(same, same)));
    assertEquals(new TensorExtract(NAME, Form.UNCHANGED, 0, 600, 0, 0, 0), only(extract));
    assertTrue(extract.patch().deltas().isEmpty());
    assertEquals(0, extract.relativeError());
  }

  @Test
  void tensorsOfNanOrInfinityAreRefusedTogetherWithTheirCounts() {
    double[] bad = new double[40 * 30];
    Arrays.fill(bad, Double.NaN);
    double[] some = new double[40 * 30];
    some[7] = Double.POSITIVE_INFINITY;
    Patch patch = dense("a.weight", Shape.of(40, 30), bad).plus(dense("b.weight", Shape.of(40, 30), some));
    for (RankRule rule : List.of(RankRule.rank(2), RankRule.energy(0.9))) {
      IncompatibleModelException refused = assertThrows(IncompatibleModelException.class, () -> LowRankExtraction.by(rule).of(patch));
      assertEquals(List.of("a.weight", "b.weight"), refused.mismatches().stream().map(mismatch -> mismatch.tensor()).toList());
      assertTrue(refused.getMessage().contains("tensor 'a.weight': 1200 of its 1200 changes are NaN or infinite"), refused.getMessage());
      assertTrue(refused.getMessage().contains("tensor 'b.weight': 1 of its 1200 changes are NaN or infinite"), refused.getMessage());
    }
  }

  @Test
  void convolutionsAreMatricesOfOutByRest() throws IOException {
    Shape shape = Shape.of(24, 6, 3, 3);
    Patch patch = dense("conv.weight", shape, withSingularValues(24, 54, 3, 2, 1));
    Extract extract = LowRankExtraction.by(RankRule.rank(3)).of(patch);
    Delta.LowRank factors = assertInstanceOf(Delta.LowRank.class, extract.patch().deltas().get("conv.weight"));
    assertEquals(Shape.of(3, 6, 3, 3), factors.a().info().shape());
    assertEquals(Shape.of(24, 3, 1, 1), factors.b().info().shape());
    assertTrue(extract.relativeError() < 1e-6);
    assertArrayEquals(values(patch, shape), values(extract.patch(), shape), 1e-5);
  }

  @Test
  void vectorsAndEmbeddingsAreKeptWhole() throws IOException {
    Map<String, Shape> shapes =
        Map.of("model.norm.weight", Shape.of(40), "model.embed_tokens.weight", Shape.of(40, 30), "lm_head.weight", Shape.of(40, 30));
    for (Map.Entry<String, Shape> entry : shapes.entrySet()) {
      Delta delta = new Delta.Dense(MemoryModel.random(DType.F32, entry.getValue(), 1, 2));
      Extract extract = LowRankExtraction.by(RankRule.rank(2)).of(patch(entry.getKey(), delta));
      assertSame(delta, extract.patch().deltas().get(entry.getKey()), entry.getKey());
      assertEquals(Form.WHOLE, only(extract).form());
      assertTrue(only(extract).norm() > 0);
    }
  }

  private static final String EXPERTS = "model.layers.0.mlp.experts.gate_up_proj";

  /** Matrices of ranks 1, 3 and 0 in a stack. */
  private static double[] experts() {
    double[] all = new double[3 * 30 * 20];
    System.arraycopy(withSingularValues(30, 20, 5), 0, all, 0, 600);
    System.arraycopy(withSingularValues(30, 20, 4, 2, 1), 0, all, 600, 600);
    return all;
  }

  @Test
  void eachMatrixOfAStackGetsFactorsOfItsOwn() throws IOException {
    Shape shape = Shape.of(3, 30, 20);
    Patch patch = dense(EXPERTS, shape, experts());
    Extract whole = LowRankExtraction.by(RankRule.rank(4)).of(patch);
    Stacks.OfProducts stack = Stacks.stack(whole.patch().deltas().get(EXPERTS)).orElseThrow();
    assertEquals(List.of(1, 3, 0), List.of(stack.product(0).rank(), stack.product(1).rank(), stack.product(2).rank()));
    assertEquals(3, only(whole).rank());
    assertEquals(4 * 50, only(whole).stored());
    assertTrue(whole.relativeError() < 1e-6);
    assertArrayEquals(experts(), values(whole.patch(), shape), 1e-5);

    Extract cut = LowRankExtraction.by(RankRule.rank(1)).of(patch);
    assertEquals(Math.sqrt(5), only(cut).error(), 1e-5);
    assertEquals(Math.sqrt(25 + 21), only(cut).norm(), 1e-5);
    // The factors of a stack are recompressed as those of a matrix are.
    Extract again = LowRankExtraction.by(RankRule.rank(2)).of(whole.patch().plus(whole.patch().scaledBy(0.5)));
    assertEquals(1.5, only(again).error(), 1e-5);
    assertEquals(2, only(again).rank());
    assertEquals(Form.UNCHANGED, only(LowRankExtraction.by(RankRule.rank(1)).of(dense(EXPERTS, shape, new double[1800]))).form());
  }

  @Test
  void aStackOfWhichOneMatrixWouldNotShrinkIsKeptWhole() throws IOException {
    Shape shape = Shape.of(3, 30, 20);
    double[] values = experts();
    Random random = new Random(1);
    for (int i = 1200; i < 1800; i++) {
      values[i] = random.nextGaussian();
    }
    Patch patch = dense(EXPERTS, shape, values);
    Extract extract = LowRankExtraction.by(RankRule.energy(0.999)).of(patch);
    assertEquals(Form.WHOLE, only(extract).form());
    assertSame(patch.deltas().get(EXPERTS), extract.patch().deltas().get(EXPERTS));
    assertEquals(norm(values), only(extract).norm(), 1e-4);
  }

  @Test
  void nanInAStackIsCountedOverAllItsMatrices() {
    double[] values = experts();
    values[3] = Double.NaN;
    values[1300] = Double.POSITIVE_INFINITY;
    Patch patch = dense(EXPERTS, Shape.of(3, 30, 20), values);
    String message = assertThrows(IncompatibleModelException.class, () -> LowRankExtraction.by(RankRule.rank(2)).of(patch)).getMessage();
    assertTrue(message.contains("2 of its 1800 changes are NaN or infinite"), message);
  }

  @Test
  void embeddingsOfWhichFewRowsChangedKeepTheseRows() throws IOException {
    Shape shape = Shape.of(40, 6);
    String name = "model.embed_tokens.weight";
    MemoryModel base = MemoryModel.named("base").random(name, DType.BF16, shape, 1, 1).build();
    double[] weights = MemoryModel.values(base, name);
    weights[3 * 6 + 2] += 1;
    weights[39 * 6] -= 2;
    MemoryModel tuned = MemoryModel.named("tuned").tensor(name, DType.BF16, shape, weights).build();
    Patch patch = Patch.from(tuned, base).scaledBy(0.5);
    Extract extract = LowRankExtraction.by(RankRule.rank(2)).of(patch);
    assertEquals(Form.ROWS, only(extract).form());
    assertEquals(12, only(extract).stored());
    Delta.Sum sum = assertInstanceOf(Delta.Sum.class, extract.patch().deltas().get(name));
    assertEquals(ImmutableLongArray.of(3, 39), assertInstanceOf(Delta.Rows.class, sum.terms().get(0).delta()).indices());
    assertArrayEquals(MemoryModel.bytes(patch.applyTo(base), name), MemoryModel.bytes(extract.patch().applyTo(base), name));
    assertFalse(Arrays.equals(MemoryModel.bytes(base, name), MemoryModel.bytes(extract.patch().applyTo(base), name)));
  }

  @Test
  void factorsOfNoGreaterRankStayAsTheyAre() throws IOException {
    Delta.LowRank factors =
        new Delta.LowRank(
            MemoryModel.random(DType.F32, Shape.of(30, 4), 1, 1), MemoryModel.random(DType.F32, Shape.of(4, 20), 1, 2), 2, false, Shape.of(30, 20));
    Extract kept = LowRankExtraction.by(RankRule.rank(4)).of(patch(NAME, factors));
    assertSame(factors, kept.patch().deltas().get(NAME));
    assertEquals(4, only(kept).rank());
    assertEquals(norm(values(kept.patch(), Shape.of(30, 20))), only(kept).norm(), 1e-3);
    Extract cut = LowRankExtraction.by(RankRule.rank(3)).of(patch(NAME, factors));
    assertEquals(3, only(cut).rank());
    assertTrue(cut.relativeError() > 0.01);
  }

  /** Three products of ranks 4, 6 and 3, one of them stored the other way round, two of them scaled twice. */
  private static Delta.Sum stacked(Shape shape, DType type) {
    long rows = shape.rows();
    long columns = shape.columns();
    return new Delta.Sum(
        List.of(
            new Delta.Term(0.6, product(type, rows, 4, columns, 2, false, shape, 1)),
            new Delta.Term(-0.4, product(type, columns, 6, rows, 0.5, true, shape, 3)),
            new Delta.Term(1, product(type, rows, 3, columns, 1, false, shape, 5))));
  }

  private static Delta.LowRank product(DType type, long out, long rank, long in, double scale, boolean transposed, Shape shape, int seed) {
    return new Delta.LowRank(
        MemoryModel.random(type, Shape.of(out, rank), 1, seed), MemoryModel.random(type, Shape.of(rank, in), 1, seed + 1), scale,
        transposed, shape);
  }

  private static Delta.Dense asDense(Delta delta) throws IOException {
    return new Delta.Dense(MemoryModel.tensor(DType.F32, delta.shape(), values(patch(NAME, delta), delta.shape())));
  }

  @ParameterizedTest
  @CsvSource({"F32, 40, 50", "F32, 300, 20", "F32, 20, 300", "BF16, 200, 150", "F32, 7, 9"})
  void aStackOfProductsIsCutAsItsDenseFormIs(DType type, int rows, int columns) throws IOException {
    Shape shape = Shape.of(rows, columns);
    Delta.Sum stack = stacked(shape, type);
    Delta.Dense dense = asDense(stack);
    for (RankRule rule :
        List.of(RankRule.rank(1), RankRule.rank(5), RankRule.rank(12), RankRule.energy(0.9), RankRule.energy(0.3).upTo(1))) {
      TensorExtract found = only(LowRankExtraction.by(rule).of(patch(NAME, stack)));
      TensorExtract expected = only(LowRankExtraction.by(rule).of(patch(NAME, dense)));
      if (expected.form() == Form.FACTORS) {
        assertEquals(expected.rank(), found.rank(), rule.toString());
        assertEquals(expected.error(), found.error(), 1e-5 * expected.norm(), rule.toString());
      }
      assertEquals(expected.norm(), found.norm(), 1e-6 * expected.norm());
    }
  }

  @Test
  void theReportedErrorOfARecompressedStackIsThatOfItsProducts() throws IOException {
    Shape shape = Shape.of(60, 45);
    Delta.Sum stack = stacked(shape, DType.F32);
    for (int rank = 1; rank <= 12; rank++) {
      Extract extract = LowRankExtraction.by(RankRule.rank(rank)).of(patch(NAME, stack));
      double[] before = values(patch(NAME, stack), shape);
      double[] after = values(extract.patch(), shape);
      double[] rest = new double[before.length];
      Arrays.setAll(rest, i -> before[i] - after[i]);
      assertEquals(norm(rest), only(extract).error(), 1e-5 * norm(before));
      assertEquals(rank * (60 + 45), only(extract).stored());
    }
  }

  @Test
  void aStackThatRepeatsItselfIsRecompressedWithoutLoss() throws IOException {
    Shape shape = Shape.of(50, 40);
    Delta.LowRank once = product(DType.F32, 50, 4, 40, 2, false, shape, 1);
    Patch twice = patch(NAME, once).plus(patch(NAME, once).scaledBy(0.5));
    Extract extract = LowRankExtraction.by(RankRule.energy(1)).of(twice);
    assertEquals(4, only(extract).rank());
    assertTrue(extract.relativeError() < 2e-7, "error " + extract.relativeError());
    assertArrayEquals(values(twice, shape), values(extract.patch(), shape), 1e-4);
    Extract nothing = LowRankExtraction.by(RankRule.energy(1)).of(patch(NAME, once).plus(patch(NAME, once).negate()));
    assertEquals(Form.UNCHANGED, only(nothing).form());
    assertTrue(nothing.patch().deltas().isEmpty());
  }

  @Test
  void aStackThatTheRuleLeavesWholeStaysAsItIs() throws IOException {
    Delta.Sum stack = stacked(Shape.of(60, 45), DType.F32);
    for (RankRule rule : List.of(RankRule.rank(13), RankRule.energy(1))) {
      Extract extract = LowRankExtraction.by(rule).of(patch(NAME, stack));
      assertSame(stack, extract.patch().deltas().get(NAME));
      assertEquals(13, only(extract).rank());
      assertEquals(0, extract.relativeError());
    }
  }

  @Test
  void factorsOfEmbeddingsAreRecompressedToo() throws IOException {
    Shape shape = Shape.of(80, 16);
    Delta.LowRank factors = product(DType.F32, 16, 6, 80, 1, true, shape, 1);
    Extract extract = LowRankExtraction.by(RankRule.rank(2)).of(patch("model.embed_tokens.weight", factors));
    assertEquals(Form.FACTORS, only(extract).form());
    assertEquals(2, only(extract).rank());
    assertEquals(only(LowRankExtraction.by(RankRule.rank(2)).of(patch(NAME, asDense(factors)))).error(), only(extract).error(), 1e-4);
  }

  /** A product of a million rows and columns has no dense form that any machine here could hold. */
  @Test
  void theDenseProductIsNeverFormed() throws IOException {
    Shape shape = Shape.of(1_000_000, 1_000_000);
    Delta.LowRank factors = product(DType.BF16, 1_000_000, 2, 1_000_000, 1, false, shape, 1);
    Extract extract = LowRankExtraction.by(RankRule.rank(1)).of(patch(NAME, factors));
    assertEquals(1, only(extract).rank());
    assertEquals(0.7, extract.relativeError(), 0.05);
  }

  @Test
  void factorsOfNanAreRefusedAsTheirProductIs() {
    Delta.LowRank factors =
        new Delta.LowRank(
            MemoryModel.tensor(DType.F32, Shape.of(2, 2), 1, 2, Double.NaN, 4),
            MemoryModel.tensor(DType.F32, Shape.of(2, 3), 1, 2, 3, 4, 5, 6),
            1,
            false, Shape.of(2, 3));
    String message =
        assertThrows(IncompatibleModelException.class, () -> LowRankExtraction.by(RankRule.rank(1)).of(patch(NAME, factors))).getMessage();
    assertTrue(message.contains("3 of its 6 changes are NaN or infinite"), message);
  }

  @Test
  void replacedWeightsStayAndCountNothing() throws IOException {
    Delta replacement = new Delta.Replacement(MemoryModel.random(DType.F32, Shape.of(30, 20), 1, 1));
    Extract extract = LowRankExtraction.by(RankRule.rank(4)).of(patch(NAME, replacement));
    assertSame(replacement, extract.patch().deltas().get(NAME));
    assertEquals(0, only(extract).norm());
  }

  @Test
  void theBitsDoNotDependOnTheNumberOfThreads() throws IOException {
    Patch patch = patch("a.weight", new Delta.Dense(MemoryModel.random(DType.F32, Shape.of(150, 130), 1, 1)));
    for (int i = 2; i < 6; i++) {
      patch = patch.plus(patch(i + ".weight", new Delta.Dense(MemoryModel.random(DType.F32, Shape.of(20 * i, 150 - 20 * i), 1, i))));
    }
    Extract one = LowRankExtraction.by(RankRule.rank(5)).withThreads(1).of(patch);
    Extract four = LowRankExtraction.by(RankRule.rank(5)).withThreads(4).of(patch);
    assertEquals(one.tensors(), four.tensors());
    for (String name : patch.deltas().keySet()) {
      Delta.LowRank mine = (Delta.LowRank) one.patch().deltas().get(name);
      Delta.LowRank theirs = (Delta.LowRank) four.patch().deltas().get(name);
      assertArrayEquals(MemoryModel.values(mine.a()), MemoryModel.values(theirs.a()));
      assertArrayEquals(MemoryModel.values(mine.b()), MemoryModel.values(theirs.b()));
    }
  }

  @Test
  void sizeOfTheValuesDoesNotMatter() throws IOException {
    for (double size : new double[] {1e-30, 1, 1e30}) {
      double[] values = Arrays.stream(withSingularValues(90, 70, 3, 2, 1)).map(x -> x * size).toArray();
      Extract extract = LowRankExtraction.by(RankRule.energy(0.9)).of(dense(NAME, Shape.of(90, 70), values));
      assertEquals(2, only(extract).rank());
      assertEquals(Math.sqrt(1 / 14.0), extract.relativeError(), 1e-5);
    }
  }

  @Test
  void aChangeThatDependsOnTheNewBaseIsRefused() {
    RowChange doubling =
        new RowChange() {
          @Override
          public Shape shape() {
            return Shape.of(8, 8);
          }

          @Override
          public boolean dependsOnWeights() {
            return true;
          }

          @Override
          public List<Tensor> inputs() {
            return List.of();
          }

          @Override
          public void compute(long fromRow, long toRow, Tensor weights, float[] target) {
            throw new AssertionError();
          }
        };
    Patch patch = patch(NAME, new Delta.Computed(doubling, Optional.empty()));
    String message = assertThrows(IllegalStateException.class, () -> LowRankExtraction.by(RankRule.rank(2)).of(patch)).getMessage();
    assertTrue(message.contains(NAME) && message.contains("freeze"), message);
  }

  @Test
  void cancellingStops() {
    Patch patch = patch(NAME, new Delta.Dense(MemoryModel.random(DType.F32, Shape.of(300, 30), 1, 1)));
    int[] asked = new int[1];
    assertThrows(CancellationException.class, () -> LowRankExtraction.by(RankRule.rank(2)).withThreads(1).cancelledWhen(() -> ++asked[0] > 4).of(patch));
    assertEquals(5, asked[0]);
  }

  @Test
  void rulesRefuseWhatMeansNothing() {
    assertEquals("rank must be at least 1 but was 0", assertThrows(IllegalArgumentException.class, () -> RankRule.rank(0)).getMessage());
    for (double energy : new double[] {0, -1, 1.5, Double.NaN}) {
      String message = assertThrows(IllegalArgumentException.class, () -> RankRule.energy(energy)).getMessage();
      assertEquals("energy must be in (0, 1] but was " + energy, message);
    }
    assertThrows(IllegalArgumentException.class, () -> RankRule.energy(0.5).upTo(0));
  }
}
