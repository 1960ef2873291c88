package io.portllm.merge;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.merge.MergeMethod.Scope;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Merged patches against the formulas, written out with full sorts. */
class MergingTest {
  private static final List<Double> WEIGHTS = List.of(0.5, 0.25, 1.0);

  /** Every method but Sum and Linear, which compute nothing of their own. */
  static Stream<MergeMethod> methods() {
    return Stream.of(
        new MergeMethod.Ties(0.3),
        new MergeMethod.Ties(0.4, Scope.TENSOR, Combination.ELECTED_SUM),
        new MergeMethod.Dare(0.5, 7),
        new MergeMethod.Della(0.5, 0.4, 7),
        new MergeMethod.Breadcrumbs(0.5, 0.1),
        new MergeMethod.Sce(0.4),
        new MergeMethod.ModelStock(),
        new MergeMethod.ModelStock(true),
        new MergeMethod.Slerp(),
        new MergeMethod.Slerp(true));
  }

  private static float[] random(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextInt(4) == 0 ? 0 : (float) random.nextGaussian() * 1e-3f;
    }
    return values;
  }

  /** Few values, so that many magnitudes are equal. */
  private static float[] coarse(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (random.nextInt(9) - 4) * 0x1p-10f;
    }
    return values;
  }

  /** Three patches of a matrix, a vector and a tensor that the second leaves alone. */
  private static List<Patch> patches() {
    return IntStream.range(0, 3).mapToObj(i -> {
      FloatModel model = new FloatModel()
          .with("matrix", i == 1 ? coarse(40 * 33, i) : random(40 * 33, i), 40, 33)
          .with("vector", random(57, 10 + i), 57);
      return (i == 1 ? model : model.with("third", random(30, 20 + i), 5, 6)).asPatch("p" + i);
    }).toList();
  }

  private static Patch merge(MergeMethod method) {
    return merge(patches(), method);
  }

  private static Patch merge(List<Patch> patches, MergeMethod method) {
    if (method instanceof MergeMethod.Slerp) {
      return Merging.merge(patches.subList(0, 2), List.of(0.5, 0.25), method);
    }
    boolean ownWeights = method instanceof MergeMethod.Sce || method instanceof MergeMethod.ModelStock;
    return ownWeights ? Merging.merge(patches, method) : Merging.merge(patches, WEIGHTS, method);
  }

  private static RowChange change(Patch patch, String tensor) {
    return assertInstanceOf(Delta.Computed.class, patch.deltas().get(tensor)).change();
  }

  private static float[] all(RowChange change) throws IOException {
    float[] values = new float[Math.toIntExact(change.shape().elements())];
    change.compute(0, change.shape().rows(), null, values);
    return values;
  }

  /** Which of the values are among the {@code count} of greatest magnitude, the first of equal ones first. */
  private static boolean[] top(float[] values, long count) {
    boolean[] top = new boolean[values.length];
    IntStream.range(0, values.length)
        .boxed()
        .sorted((a, b) -> Float.compare(Math.abs(values[b]), Math.abs(values[a])))
        .limit(count)
        .forEach(i -> top[i] = true);
    return top;
  }

  private static float[] kept(float[] values, boolean[] keep) {
    float[] kept = new float[values.length];
    IntStream.range(0, values.length).filter(i -> keep[i]).forEach(i -> kept[i] = values[i]);
    return kept;
  }

  /** The combination, term by term. */
  private static float[] combined(float[][] values, List<Double> weights, Combination combination) {
    float[] result = new float[values[0].length];
    for (int e = 0; e < result.length; e++) {
      double all = 0;
      for (int i = 0; i < values.length; i++) {
        all += weights.get(i) * values[i][e];
      }
      double plain = 0;
      for (float[] change : values) {
        plain += change[e];
      }
      double agreeing = 0;
      double divisor = 0;
      double counted = 0;
      int count = 0;
      for (int i = 0; i < values.length; i++) {
        double term = weights.get(i) * values[i][e];
        if (term != 0 && term > 0 == all >= 0) {
          agreeing += term;
          divisor += weights.get(i);
        }
        if (values[i][e] != 0 && values[i][e] > 0 == plain >= 0) {
          counted += term;
          count++;
        }
      }
      result[e] = switch (combination) {
        case SUM -> (float) all;
        case ELECTED_SUM -> (float) agreeing;
        case ELECTED_MEAN -> (float) (divisor == 0 ? 0 : agreeing / divisor);
        case COUNTED_MEAN -> (float) (counted / Math.max(1, count));
      };
    }
    return result;
  }

  private static List<Patch> of(float[][] values, long... shape) {
    List<Patch> patches = new ArrayList<>();
    for (float[] change : values) {
      patches.add(new FloatModel().with("t", change, shape).asPatch("p"));
    }
    return patches;
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1, 0.5", "1, 3, 0.2", "2, 3, 0.34", "8, 8, 0.01", "8, 8, 0.5", "8, 8, 1", "300, 61, 0.2", "61, 300, 0.9", "1, 20000, 0.3"
  })
  void tiesOfATensorIsThatOfASort(int rows, int columns, double density) throws IOException {
    for (Combination combination : Combination.values()) {
      for (boolean ties : new boolean[] {false, true}) {
        float[][] values = new float[3][];
        float[][] kept = new float[3][];
        for (int i = 0; i < 3; i++) {
          values[i] = ties ? coarse(rows * columns, i) : random(rows * columns, i);
          kept[i] = kept(values[i], top(values[i], (long) (density * rows * columns)));
        }
        Patch merged = Merging.merge(of(values, rows, columns), WEIGHTS, new MergeMethod.Ties(density, Scope.TENSOR, combination));
        assertArrayEquals(combined(kept, WEIGHTS, combination), all(change(merged, "t")));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.001, 0.1, 0.35, 0.8, 1})
  void tiesOfAPatchIsThatOfASortOverAllTensors(double density) throws IOException {
    int[] sizes = {1000, 1, 333, 7};
    for (boolean ties : new boolean[] {false, true}) {
      List<Patch> patches = new ArrayList<>();
      float[][] kept = new float[3][];
      for (int i = 0; i < 3; i++) {
        FloatModel model = new FloatModel();
        float[] flat = ties ? coarse(1341, i) : random(1341, i);
        kept[i] = kept(flat, top(flat, (long) (density * flat.length)));
        int from = 0;
        for (int t = 0; t < sizes.length; t++) {
          model.with("t" + t, Arrays.copyOfRange(flat, from, from + sizes[t]), sizes[t]);
          from += sizes[t];
        }
        // Tensors that fine-tuning left alone are no part of the patch, so they do not raise the number that is kept.
        patches.add(model.with("untouched", new float[5000], 5000).asPatch("p"));
      }
      float[] expected = combined(kept, WEIGHTS, Combination.ELECTED_MEAN);
      Patch merged = Merging.merge(patches, WEIGHTS, new MergeMethod.Ties(density));
      int from = 0;
      for (int t = 0; t < sizes.length; t++) {
        assertArrayEquals(Arrays.copyOfRange(expected, from, from + sizes[t]), all(change(merged, "t" + t)), "t" + t);
        from += sizes[t];
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 64, 0.9, 0.01", "1, 1, 1, 0", "50, 80, 0.5, 0", "50, 80, 0.5, 0.01", "50, 80, 0.2, 0.8", "3, 5, 0.4, 0.3"})
  void breadcrumbsIsThatOfASort(int rows, int columns, double density, double gamma) throws IOException {
    int n = rows * columns;
    for (boolean ties : new boolean[] {false, true}) {
      float[][] values = new float[3][];
      float[][] kept = new float[3][];
      for (int i = 0; i < 3; i++) {
        values[i] = ties ? coarse(n, i) : random(n, i);
        boolean[] dropped = top(values[i], (long) (gamma * n));
        boolean[] reached = top(values[i], (long) (gamma * n) + (long) (density * n));
        boolean[] keep = new boolean[n];
        IntStream.range(0, n).forEach(e -> keep[e] = reached[e] && !dropped[e]);
        kept[i] = kept(values[i], keep);
      }
      Patch merged = Merging.merge(of(values, rows, columns), WEIGHTS, new MergeMethod.Breadcrumbs(density, gamma));
      assertArrayEquals(combined(kept, WEIGHTS, Combination.SUM), all(change(merged, "t")));
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.05, 0.5, 0.77, 1})
  void sceIsThatOfASort(double density) throws IOException {
    int n = 700;
    float[][] values = {random(n, 1), coarse(n, 2), coarse(n, 3)};
    float[] deviations = new float[n];
    int varying = 0;
    for (int e = 0; e < n; e++) {
      double mean = ((double) values[0][e] + values[1][e] + values[2][e]) / 3;
      double squares = 0;
      for (float[] change : values) {
        squares += (change[e] - mean) * (change[e] - mean);
      }
      deviations[e] = (float) Math.sqrt(squares / 3);
      varying += deviations[e] > 0 ? 1 : 0;
    }
    boolean[] keep = top(deviations, density == 1 ? n : (long) (density * varying));
    float[][] kept = {kept(values[0], keep), kept(values[1], keep), kept(values[2], keep)};
    double[] energies = new double[3];
    for (int i = 0; i < 3; i++) {
      for (float value : kept[i]) {
        energies[i] += (double) value * value;
      }
    }
    float[] expected = new float[n];
    for (int e = 0; e < n; e++) {
      double all = (double) kept[0][e] + kept[1][e] + kept[2][e];
      double sum = 0;
      double divisor = 0;
      for (int i = 0; i < 3; i++) {
        if (kept[i][e] != 0 && kept[i][e] > 0 == all >= 0) {
          sum += energies[i] * kept[i][e];
          divisor += energies[i];
        }
      }
      expected[e] = divisor == 0 ? 0 : (float) (sum / divisor);
    }
    float[] actual = all(change(Merging.merge(of(values, 70, 10), new MergeMethod.Sce(density)), "t"));
    assertArrayEquals(expected, actual, 1e-9f);
  }

  /** mergekit counts energies below 1e-6 as none, and then weighs all alike: real changes are smaller than that. */
  @Test
  void sceWeighsSmallChangesByTheirEnergyToo() throws IOException {
    float[][] values = {{1e-5f, 3e-5f}, {1e-5f, 1e-5f}};
    float[] merged = all(change(Merging.merge(of(values, 1, 2), new MergeMethod.Sce(1)), "t"));
    double first = 10.0 / 12;
    assertEquals(1e-5, merged[0], 1e-11);
    assertEquals(first * 3e-5 + (1 - first) * 1e-5, merged[1], 1e-11);
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.1, 0.5, 0.9})
  void dareKeepsTheShareAndScalesIt(double density) throws IOException {
    int n = 100_000;
    float[] ones = new float[n];
    Arrays.fill(ones, 0.75f);
    float[] merged = all(change(Merging.merge(of(new float[][] {ones}, 100, 1000), new MergeMethod.Dare(density, 1)), "t"));
    int kept = 0;
    for (float value : merged) {
      assertTrue(value == 0 || value == (float) (0.75 / density), "kept value " + value);
      kept += value == 0 ? 0 : 1;
    }
    assertEquals(density, (double) kept / n, 5 * Math.sqrt(density * (1 - density) / n));
  }

  @Test
  void dellaKeepsGreatChangesMoreOftenAndIsUnbiased() throws IOException {
    float[] row = {0.1f, -0.2f, 0.3f, -0.4f, 0.5f};
    int seeds = 20_000;
    double[] kept = new double[5];
    double[] sums = new double[5];
    for (int seed = 0; seed < seeds; seed++) {
      float[] merged = all(change(Merging.merge(of(new float[][] {row}, 1, 5), new MergeMethod.Della(0.5, 0.6, seed)), "t"));
      for (int e = 0; e < 5; e++) {
        kept[e] += merged[e] == 0 ? 0 : 1;
        sums[e] += merged[e];
      }
    }
    double[] probabilities = {0.2, 0.35, 0.5, 0.65, 0.8};
    for (int e = 0; e < 5; e++) {
      double p = probabilities[e];
      assertEquals(p, kept[e] / seeds, 5 * Math.sqrt(p * (1 - p) / seeds));
      assertEquals(row[e], sums[e] / seeds, 5 * Math.abs(row[e]) * Math.sqrt((1 - p) / p / seeds));
    }
  }

  @Test
  void patchesSeedsAndTensorsDrawApart() throws IOException {
    float[] ones = new float[4096];
    Arrays.fill(ones, 1);
    Patch both = new FloatModel().with("a", ones, 4096).with("b", ones, 4096).asPatch("p");
    Patch merged = Merging.merge(List.of(both, both), List.of(1.0, 4.0), new MergeMethod.Dare(0.5, 3));
    float[] a = all(change(merged, "a"));
    // 0, 2, 8 and 10 where neither, one, the other or both kept an element: a quarter each.
    for (float sum : new float[] {0, 2, 8, 10}) {
      assertEquals(1024, IntStream.range(0, a.length).filter(i -> a[i] == sum).count(), 5 * Math.sqrt(4096 * 0.25 * 0.75));
    }
    assertFalse(Arrays.equals(a, all(change(merged, "b"))));
    Patch otherSeed = Merging.merge(List.of(both, both), List.of(1.0, 4.0), new MergeMethod.Dare(0.5, 4));
    assertFalse(Arrays.equals(a, all(change(otherSeed, "a"))));
  }

  @ParameterizedTest
  @MethodSource("methods")
  void theBitsDoNotDependOnHowRowsAreCutUp(MergeMethod method) throws IOException {
    for (String tensor : List.of("matrix", "vector", "third")) {
      RowChange whole = change(merge(method), tensor);
      float[] expected = all(whole);
      int columns = Math.toIntExact(whole.shape().columns());
      int rows = Math.toIntExact(whole.shape().rows());
      for (int step : new int[] {1, 3, rows}) {
        RowChange change = change(merge(method), tensor);
        float[] actual = new float[expected.length];
        // From the end to the start, so that nothing can depend on order either.
        for (int from = (rows - 1) / step * step; from >= 0; from -= step) {
          int to = Math.min(rows, from + step);
          float[] part = new float[(to - from) * columns];
          change.compute(from, to, null, part);
          System.arraycopy(part, 0, actual, from * columns, part.length);
        }
        assertArrayEquals(expected, actual, tensor + " by " + step);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("methods")
  void theBitsDoNotDependOnThreads(MergeMethod method) throws Exception {
    float[] expected = all(change(merge(method), "matrix"));
    RowChange change = change(merge(method), "matrix");
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try {
      List<Future<float[]>> rows = IntStream.range(0, 40).mapToObj(row -> threads.submit(() -> {
        float[] values = new float[33];
        change.compute(row, row + 1, null, values);
        return values;
      })).toList();
      for (int row = 0; row < 40; row++) {
        assertArrayEquals(Arrays.copyOfRange(expected, 33 * row, 33 * row + 33), rows.get(row).get(), "row " + row);
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @ParameterizedTest
  @MethodSource("methods")
  void aTensorLeftAloneCountsAsAChangeOfZero(MergeMethod method) throws IOException {
    List<Patch> explicit = new ArrayList<>(patches());
    explicit.set(1, new FloatModel()
        .with("matrix", coarse(40 * 33, 1), 40, 33)
        .with("vector", random(57, 11), 57)
        .with("third", new float[30], 5, 6)
        .asPatch("p1"));
    for (String tensor : List.of("matrix", "vector", "third")) {
      assertArrayEquals(all(change(merge(explicit, method), tensor)), all(change(merge(method), tensor)), tensor);
    }
  }

  @ParameterizedTest
  @MethodSource("methods")
  void aChangeOfZeroStaysOne(MergeMethod method) throws IOException {
    List<Patch> zeros = of(new float[3][12], 3, 4);
    assertArrayEquals(new float[12], all(change(merge(zeros, method), "t")));
  }

  static Stream<MergeMethod> methodsWithoutOrder() {
    return methods().filter(method ->
        !(method instanceof MergeMethod.Dare || method instanceof MergeMethod.Della || method instanceof MergeMethod.Slerp));
  }

  @ParameterizedTest
  @MethodSource("methodsWithoutOrder")
  void theOrderOfPatchesDoesNotMatterToMethodsWithoutChance(MergeMethod method) throws IOException {
    List<Patch> reversed = new ArrayList<>(patches());
    Collections.reverse(reversed);
    for (String tensor : List.of("matrix", "vector", "third")) {
      float[] forward = all(change(Merging.merge(patches(), method), tensor));
      float[] backward = all(change(Merging.merge(reversed, method), tensor));
      assertArrayEquals(forward, backward, 1e-10f, tensor);
    }
  }

  @Test
  void slerpTurnsFromOneChangeToTheOther() throws IOException {
    float[][] values = {{3, 0, 0, 0}, {0, 2, 0, 0}};
    List<Patch> patches = of(values, 2, 2);
    assertArrayEquals(values[0], all(change(Merging.merge(patches, List.of(1.0, 0.0), new MergeMethod.Slerp()), "t")), 1e-6f);
    assertArrayEquals(values[1], all(change(Merging.merge(patches, List.of(0.0, 2.0), new MergeMethod.Slerp()), "t")), 1e-6f);
    float half = (float) Math.sqrt(0.5);
    assertArrayEquals(new float[] {3 * half, 2 * half, 0, 0}, all(change(Merging.merge(patches, new MergeMethod.Slerp()), "t")), 1e-6f);
  }

  @Test
  void slerpAlongOneLineOrWithZeroIsLinear() throws IOException {
    float[] line = {1, -2, 4};
    List<Double> weights = List.of(3.0, 1.0);
    for (float[] other : new float[][] {{2, -4, 8}, {-1, 2, -4}, {0, 0, 0}}) {
      float[] merged = all(change(Merging.merge(of(new float[][] {line, other}, 3), weights, new MergeMethod.Slerp()), "t"));
      for (int e = 0; e < 3; e++) {
        assertEquals(0.75 * line[e] + 0.25 * other[e], merged[e], 1e-6);
      }
    }
  }

  @Test
  void modelStockKeepsWhatIsCommonAndBoundsWhatCancelsOut() throws IOException {
    float[] same = {1, 2, -3};
    assertArrayEquals(same, all(change(Merging.merge(of(new float[][] {same, same, same}, 3), new MergeMethod.ModelStock()), "t")), 1e-6f);
    float[][] orthogonal = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    assertArrayEquals(new float[3], all(change(Merging.merge(of(orthogonal, 3), new MergeMethod.ModelStock()), "t")), 1e-6f);
    float[][] opposed = {{1, 0}, {-1, 1e-3f}};
    float[] bounded = all(change(Merging.merge(of(opposed, 2), new MergeMethod.ModelStock()), "t"));
    assertArrayEquals(new float[] {0, -0.5e-3f}, bounded, 1e-9f);
  }

  @Test
  void sumsOfLowRankChangesStayLowRank() {
    Delta first = lowRank(4, 6, 2, 1);
    Delta second = lowRank(4, 6, 3, 2);
    List<Patch> patches = List.of(patch(first), patch(second));
    Delta.Sum sum = assertInstanceOf(
        Delta.Sum.class, Merging.merge(patches, List.of(0.5, 2.0), new MergeMethod.Sum()).deltas().get("t"));
    assertEquals(List.of(new Delta.Term(0.5, first), new Delta.Term(2, second)), sum.terms());
    Delta.Sum mean = assertInstanceOf(
        Delta.Sum.class, Merging.merge(patches, List.of(1.0, 3.0), new MergeMethod.Linear()).deltas().get("t"));
    assertEquals(List.of(new Delta.Term(0.25, first), new Delta.Term(0.75, second)), mean.terms());
  }

  @Test
  void lowRankAndRowChangesAreMergedAsTheirProductAndTheirRows() throws IOException {
    float[] rows = random(12, 5);
    Delta some = new Delta.Rows(ImmutableLongArray.of(3, 1), FloatModel.tensor(rows, 2, 6), Optional.empty(), Shape.of(4, 6));
    float[] dense = new float[24];
    System.arraycopy(rows, 0, dense, 18, 6);
    System.arraycopy(rows, 6, dense, 6, 6);
    Delta product = lowRank(4, 6, 2, 9);
    float[] multiplied = FloatModel.changes(patch(product), "t", 4, 6);
    MergeMethod method = new MergeMethod.Ties(0.3, Scope.TENSOR, Combination.ELECTED_MEAN);
    float[] expected = all(change(Merging.merge(of(new float[][] {dense, multiplied}, 4, 6), method), "t"));
    assertArrayEquals(expected, all(change(Merging.merge(List.of(patch(some), patch(product)), method), "t")));
  }

  @Test
  void changesOfRowsAloneTakeTheirShapeFromTheBase() {
    Delta some = new Delta.Rows(ImmutableLongArray.of(1), FloatModel.tensor(new float[6], 1, 6), Optional.empty(), Shape.of(2, 6));
    Optional<PatchBase> base = Optional.of(PatchBase.of(new FloatModel().with("t", new float[54], 9, 6)));
    Patch rows = Patch.of(Map.of("t", some), base, "rows");
    Patch merged = Merging.merge(List.of(rows, rows), new MergeMethod.Ties(0.5));
    assertEquals(Shape.of(9, 6), merged.deltas().get("t").shape());
    assertEquals(base, merged.base());
  }

  @Test
  void theRecipeNamesMethodWeightsAndParents() {
    Patch merged = Merging.merge(patches(), WEIGHTS, new MergeMethod.Dare(0.25, 11));
    assertEquals("dare(density 0.25, seed 11, sum)[0.5 * (p0), 0.25 * (p1), 1.0 * (p2)]", merged.recipe());
    assertEquals(Optional.empty(), merged.base());
  }

  @Test
  void patchesOfDifferentBasesLeaveTheBaseUnknown() {
    ModelVersion one = new FloatModel().with("t", new float[6], 6);
    ModelVersion other = new FloatModel().with("t", new float[6], 6);
    Delta change = new Delta.Dense(FloatModel.tensor(new float[6], 6));
    Patch first = Patch.of(Map.of("t", change), Optional.of(PatchBase.of(one)), "a");
    Patch second = Patch.of(Map.of("t", change), Optional.of(PatchBase.of(other)), "b");
    assertEquals(first.base(), Merging.merge(List.of(first, first), new MergeMethod.Sum()).base());
    assertEquals(Optional.empty(), Merging.merge(List.of(first, second), new MergeMethod.Sum()).base());
  }

  @Test
  void impossibleArgumentsAreRefusedWithWhatWasGotAndWanted() {
    assertRefused("density must be in (0, 1] but was 0.0", () -> new MergeMethod.Ties(0));
    assertRefused("density must be in (0, 1] but was NaN", () -> new MergeMethod.Dare(Double.NaN, 1));
    assertRefused("density must be in (0, 1] but was 1.5", () -> new MergeMethod.Sce(1.5));
    assertRefused("gamma must be in [0, 1 - density] but was 0.2 at density 0.9", () -> new MergeMethod.Breadcrumbs(0.9, 0.2));
    assertRefused(
        "window must keep density - window / 2 above 0 and density + window / 2 at most 1 but was 0.5 at density 0.2",
        () -> new MergeMethod.Della(0.2, 0.5, 1));
    List<Patch> three = patches();
    assertRefused("there must be at least one patch", () -> Merging.merge(List.of(), new MergeMethod.Sum()));
    assertRefused(
        "there must be a weight for each of the 3 patches but there were 2",
        () -> Merging.merge(three, List.of(1.0, 1.0), new MergeMethod.Sum()));
    assertRefused(
        "weights must be finite but were [1.0, 1.0, Infinity]",
        () -> Merging.merge(three, List.of(1.0, 1.0, Double.POSITIVE_INFINITY), new MergeMethod.Ties(1)));
    assertRefused(
        "weights must have a positive sum for linear but were [1.0, -1.0, 0.0]",
        () -> Merging.merge(three, List.of(1.0, -1.0, 0.0), new MergeMethod.Linear()));
    assertRefused("there must be two patches for slerp but there were 3", () -> Merging.merge(three, new MergeMethod.Slerp()));
    assertRefused(
        "weights must not be negative for slerp but were [2.0, -1.0]",
        () -> Merging.merge(three.subList(0, 2), List.of(2.0, -1.0), new MergeMethod.Slerp()));
    assertRefused(
        "there must be at least two patches for model-stock but there was 1",
        () -> Merging.merge(three.subList(0, 1), new MergeMethod.ModelStock()));
    assertRefused(
        "weights must be 1 for sce(density 0.5), which finds its own, but were [0.5, 0.25, 1.0]",
        () -> Merging.merge(three, WEIGHTS, new MergeMethod.Sce(0.5)));
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }

  @ParameterizedTest
  @MethodSource("methods")
  void otherShapesAndReplacementsAndChangesOfTheNewBaseAreRefused(MergeMethod method) {
    Patch matrix = new FloatModel().with("t", new float[6], 2, 3).asPatch("a");
    Patch turned = new FloatModel().with("t", new float[6], 3, 2).asPatch("b");
    assertRefused("tensor 't' is [2, 3] in one patch and [3, 2] in another", () -> merge(List.of(matrix, turned, matrix), method));
    Patch replacing = patch(new Delta.Replacement(FloatModel.tensor(new float[6], 2, 3)));
    String replaced = assertThrows(IllegalStateException.class, () -> merge(List.of(matrix, replacing, matrix), method)).getMessage();
    assertTrue(replaced.startsWith("tensor 't' is replaced by the patch"), replaced);
    Patch dependent = patch(new Delta.Computed(new Doubling(), Optional.empty()));
    String depends = assertThrows(IllegalStateException.class, () -> merge(List.of(matrix, dependent, matrix), method)).getMessage();
    assertTrue(depends.startsWith("the change of tensor 't' depends on the weights of the new base"), depends);
  }

  @ParameterizedTest
  @MethodSource("methods")
  void changesThatAreNotFiniteAreRefused(MergeMethod method) {
    for (float bad : new float[] {Float.NaN, Float.NEGATIVE_INFINITY}) {
      float[][] values = new float[3][6];
      values[1][4] = bad;
      RowChange change = change(merge(of(values, 2, 3), method), "t");
      IncompatibleModelException refused = assertThrows(IncompatibleModelException.class, () -> all(change));
      assertEquals("the patches cannot be combined: tensor 't': 1 changes are infinite or NaN among elements 0 to 5", refused.getMessage());
    }
  }

  /** A change frozen on weights at hand can be merged like any other. */
  @Test
  void aFrozenChangeIsMerged() throws IOException {
    Tensor old = FloatModel.tensor(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
    Patch frozen = patch(new Delta.Computed(new Doubling(), Optional.of(old)));
    assertArrayEquals(new float[] {0, 0, 0, 4, 5, 6}, all(change(Merging.merge(List.of(frozen), new MergeMethod.Ties(0.5)), "t")));
  }

  /** Adds the weights to themselves. */
  private record Doubling() implements RowChange {
    @Override
    public Shape shape() {
      return Shape.of(2, 3);
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
    public void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
      ByteBuffer bytes = ByteBuffer.allocate((int) (toRow - fromRow) * 12).order(ByteOrder.LITTLE_ENDIAN);
      weights.read(fromRow * 12, bytes);
      bytes.flip().asFloatBuffer().get(target, 0, (int) (toRow - fromRow) * 3);
    }
  }

  private static Delta lowRank(int out, int in, int rank, long seed) {
    return new Delta.LowRank(
        FloatModel.tensor(random(out * rank, seed), out, rank),
        FloatModel.tensor(random(rank * in, seed + 1), rank, in),
        2,
        false,
        Shape.of(out, in));
  }

  private static Patch patch(Delta delta) {
    return Patch.of(Map.of("t", delta), Optional.empty(), "p");
  }

  static Stream<MergeMethod> methodsByTensor() {
    return Stream.of(
        new MergeMethod.Ties(0.3, MergeMethod.Scope.TENSOR, Combination.ELECTED_MEAN),
        new MergeMethod.Breadcrumbs(0.6, 0.1),
        new MergeMethod.Slerp(),
        new MergeMethod.Slerp(true),
        new MergeMethod.Sce(0.4),
        new MergeMethod.ModelStock(),
        new MergeMethod.ModelStock(true));
  }

  /** Whether experts are stored apart or fused must not matter to what they are merged to. */
  @ParameterizedTest
  @MethodSource("methodsByTensor")
  void aStackOfMatricesIsMergedAsTheMatricesApartAre(MergeMethod method) throws IOException {
    int experts = 4;
    int rows = 13;
    int columns = 9;
    int size = rows * columns;
    List<Patch> stacked = new ArrayList<>();
    List<Patch> apart = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      float[] all = new float[experts * size];
      FloatModel model = new FloatModel();
      for (int expert = 0; expert < experts; expert++) {
        float[] one = random(size, 10 * i + expert);
        for (int e = 0; e < size; e++) {
          // Experts of very different sizes: a line or an angle over all of them would be that of the last.
          one[e] *= (float) Math.pow(10, expert);
        }
        System.arraycopy(one, 0, all, expert * size, size);
        model.with("experts." + expert + ".weight", one, rows, columns);
      }
      apart.add(model.asPatch("p" + i));
      stacked.add(new FloatModel().with("experts.gate_up_proj", all, experts, rows, columns).asPatch("p" + i));
    }
    RowChange change = change(Merging.merge(stacked, List.of(1.0, 1.0), method), "experts.gate_up_proj");
    assertEquals(columns, change.rowLength());
    float[] found = new float[experts * size];
    change.compute(0, experts * rows, null, found);
    float[] byRow = new float[experts * size];
    for (int row = 0; row < experts * rows; row++) {
      float[] one = new float[columns];
      change.compute(row, row + 1, null, one);
      System.arraycopy(one, 0, byRow, row * columns, columns);
    }
    assertArrayEquals(found, byRow);
    for (int expert = 0; expert < experts; expert++) {
      float[] expected = all(change(Merging.merge(apart, List.of(1.0, 1.0), method), "experts." + expert + ".weight"));
      assertArrayEquals(expected, Arrays.copyOfRange(found, expert * size, (expert + 1) * size), "expert " + expert);
    }
  }

  /** DELLA ranks magnitudes in a row, which in a stack is a row of a matrix and not a whole matrix. */
  @Test
  void dellaRanksTheRowsOfTheMatricesOfAStack() throws IOException {
    float[] values = new float[3 * 8 * 50];
    for (int i = 0; i < values.length; i++) {
      values[i] = (1 + i % 50) * (float) Math.pow(100, i / 50 % 8);
    }
    Patch patch = new FloatModel().with("experts.down_proj", values, 3, 8, 50).asPatch("p");
    double kept = 0;
    for (int seed = 0; seed < 200; seed++) {
      RowChange change = change(Merging.merge(List.of(patch), new MergeMethod.Della(0.5, 0.8, seed)), "experts.down_proj");
      float[] found = new float[values.length];
      change.compute(0, 24, null, found);
      for (int row = 0; row < 24; row++) {
        kept += found[row * 50] != 0 ? 1 : 0;
      }
    }
    // The least of each row of 50 is kept with the least probability, 0.1, whatever the row's size.
    assertEquals(0.1, kept / (200 * 24), 0.02);
  }
}
