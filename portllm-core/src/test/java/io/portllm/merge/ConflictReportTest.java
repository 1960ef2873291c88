package io.portllm.merge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.internal.patch.StackedFactors;
import io.portllm.merge.ConflictReport.Conflict;
import io.portllm.merge.ConflictReport.Overlap;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ConflictReportTest {
  private static Patch patch(Delta delta) {
    return Patch.of(Map.of("t", delta), Optional.empty(), "p");
  }

  private static Delta lowRank(float[] b, float[] a, int out, int in, int rank) {
    return new Delta.LowRank(FloatModel.tensor(b, out, rank), FloatModel.tensor(a, rank, in), 1, false, Shape.of(out, in));
  }

  private static float[] random(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static Overlap overlap(Delta first, Delta second) throws IOException {
    return ConflictReport.of(List.of(patch(first), patch(second))).tensors().get(0).pairs().get(0).overlap().orElseThrow();
  }

  @Test
  void signsAreComparedWhereTwoPatchesOrMoreChangeAnElement() throws IOException {
    Patch a = new FloatModel().with("t", new float[] {1, -2, 0, 4, 0}, 5).asPatch("a");
    Patch b = new FloatModel().with("t", new float[] {1, 2, 3, 0, 0}, 5).with("u", new float[] {-1, 2}, 2).asPatch("b");
    Patch c = new FloatModel().with("u", new float[] {3, 0}, 2).asPatch("c");
    ConflictReport report = ConflictReport.of(List.of(a, b, c));
    assertEquals(List.of("t", "u"), report.tensors().stream().map(Conflict::tensor).toList());
    Conflict t = report.tensors().get(0);
    assertEquals(5, t.elements());
    assertEquals(2, t.shared());
    assertEquals(1, t.disagreeing());
    assertEquals(0.5, t.signDisagreement());
    assertEquals(4.0 / 6, t.weightedSignDisagreement());
    assertEquals(List.of(21.0, 14.0, 0.0), t.energies());
    assertEquals(0, t.pairs().get(0).first());
    assertEquals(1, t.pairs().get(0).second());
    assertEquals((1 - 4) / Math.sqrt(21 * 14), t.pairs().get(0).cosine(), 1e-15);
    assertEquals(0, t.pairs().get(1).cosine());
    Conflict total = report.total();
    assertEquals(7, total.elements());
    assertEquals(3, total.shared());
    assertEquals(2, total.disagreeing());
    assertEquals(List.of(21.0, 19.0, 9.0), total.energies());
    assertEquals(-3 / Math.sqrt(19 * 9), total.pairs().get(2).cosine(), 1e-15);
  }

  @Test
  void nothingSharedIsNoConflict() throws IOException {
    Patch a = new FloatModel().with("t", new float[] {1, 0}, 2).asPatch("a");
    Patch b = new FloatModel().with("t", new float[] {0, 1}, 2).asPatch("b");
    ConflictReport report = ConflictReport.of(List.of(a, b));
    assertEquals(0, report.total().signDisagreement());
    assertEquals(0, report.total().weightedSignDisagreement());
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 20_000, 100_001})
  void cosinesAreThoseOfPlainSums(int size) throws IOException {
    float[] a = random(size, 1);
    float[] b = random(size, 2);
    ConflictReport report = ConflictReport.of(
        List.of(new FloatModel().with("t", a, size).asPatch("a"), new FloatModel().with("t", b, size).asPatch("b")));
    double ab = IntStream.range(0, size).mapToDouble(i -> (double) a[i] * b[i]).sum();
    double aa = IntStream.range(0, size).mapToDouble(i -> (double) a[i] * a[i]).sum();
    double bb = IntStream.range(0, size).mapToDouble(i -> (double) b[i] * b[i]).sum();
    assertEquals(ab / Math.sqrt(aa * bb), report.total().pairs().get(0).cosine(), 1e-12);
    assertEquals(aa, report.total().energies().get(0), 1e-12 * aa);
  }

  @Test
  void theSameColumnSpaceOverlapsWhateverTheFactors() throws IOException {
    float[] b = random(10 * 3, 1);
    float[] swapped = new float[30];
    for (int i = 0; i < 10; i++) {
      swapped[3 * i] = b[3 * i + 2] * 5;
      swapped[3 * i + 1] = b[3 * i] + b[3 * i + 1];
      swapped[3 * i + 2] = b[3 * i] - b[3 * i + 1];
    }
    Overlap overlap = overlap(lowRank(b, random(3 * 8, 2), 10, 8, 3), lowRank(swapped, random(3 * 8, 3), 10, 8, 3));
    assertEquals(3, overlap.firstRank());
    assertEquals(3, overlap.secondRank());
    assertEquals(3, overlap.cosines().size());
    overlap.cosines().forEach(cosine -> assertEquals(1, cosine, 1e-6));
    assertEquals(1, overlap.share(), 1e-6);
  }

  @Test
  void principalAnglesAreThoseOfTheSpaces() throws IOException {
    // Columns e1, e2 against cos(0.3)·e1 + sin(0.3)·e3.
    float[] plane = {1, 0, 0, 1, 0, 0, 0, 0};
    float[] line = {(float) Math.cos(0.3), 0, (float) Math.sin(0.3), 0};
    Overlap overlap = overlap(lowRank(plane, random(2 * 6, 1), 4, 6, 2), lowRank(line, random(6, 2), 4, 6, 1));
    assertEquals(2, overlap.firstRank());
    assertEquals(1, overlap.secondRank());
    assertEquals(1, overlap.cosines().size());
    assertEquals(Math.cos(0.3), overlap.cosines().get(0), 1e-7);
    assertEquals(Math.cos(0.3) * Math.cos(0.3), overlap.share(), 1e-7);
    float[] other = {0, 0, 0, 0, 1, 0, 0, 1};
    assertEquals(List.of(0.0, 0.0), overlap(lowRank(plane, random(12, 1), 4, 6, 2), lowRank(other, random(12, 2), 4, 6, 2)).cosines());
  }

  /** What A cannot reach does not count: with a zero row in A, B's column is no part of the space. */
  @Test
  void theSpaceIsThatOfTheProductAndNotOfOneFactor() throws IOException {
    float[] b = {1, 0, 0, 1, 0, 0};
    float[] a = {1, 2, 3, 0, 0, 0};
    Overlap overlap = overlap(lowRank(b, a, 3, 3, 2), lowRank(b, random(6, 1), 3, 3, 2));
    assertEquals(1, overlap.firstRank());
    assertEquals(2, overlap.secondRank());
    assertEquals(1, overlap.share(), 1e-9);
  }

  @Test
  void onlyLowRankChangesHaveSpacesAndSumsOfThemDo() throws IOException {
    Delta product = lowRank(random(8, 1), random(12, 2), 4, 6, 2);
    Patch sum = patch(product).plus(patch(lowRank(random(4, 3), random(6, 4), 4, 6, 1)));
    Patch dense = new FloatModel().with("t", random(24, 5), 4, 6).asPatch("dense");
    Conflict conflict = ConflictReport.of(List.of(sum, patch(product), dense)).tensors().get(0);
    Overlap overlap = conflict.pairs().get(0).overlap().orElseThrow();
    assertEquals(3, overlap.firstRank());
    assertEquals(1, overlap.share(), 1e-6);
    assertFalse(conflict.pairs().get(1).overlap().isPresent());
    assertTrue(conflict.pairs().get(2).overlap().isEmpty());
  }

  @Test
  void onePatchHasNothingToConflictWith() {
    Patch one = new FloatModel().with("t", new float[2], 2).asPatch("a");
    assertEquals(
        "there must be at least two patches but there were 1",
        assertThrows(IllegalArgumentException.class, () -> ConflictReport.of(List.of(one))).getMessage());
  }

  /** A stack is a map of blocks, so that its angles are those of its matrices. */
  @Test
  void theSpacesOfAStackAreThoseOfItsMatrices() throws IOException {
    Delta.LowRank one = (Delta.LowRank) lowRank(new float[] {1, 0, 0, 1, 0, 0}, random(2 * 5, 1), 3, 5, 2);
    Delta.LowRank other = (Delta.LowRank) lowRank(new float[] {0, 0, 1}, random(5, 2), 3, 5, 1);
    Delta first = stack(one, other);
    Delta second = stack(one, (Delta.LowRank) lowRank(new float[] {1, 0, 0}, random(5, 3), 3, 5, 1));
    Overlap overlap = overlap(first, second);
    assertEquals(3, overlap.firstRank());
    assertEquals(3, overlap.secondRank());
    assertEquals(3, overlap.cosines().size());
    assertEquals(1, overlap.cosines().get(0), 1e-6);
    assertEquals(1, overlap.cosines().get(1), 1e-6);
    assertEquals(0, overlap.cosines().get(2), 1e-6);
    assertEquals(1, overlap(first, first).share(), 1e-6);
  }

  private static Delta stack(Delta.LowRank... products) {
    return new Delta.Computed(new StackedFactors(Shape.of(products.length, 3, 5), List.of(products)), Optional.empty());
  }
}
