package io.portllm.internal.merge;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Lines found by histograms against a full sort. */
class SelectionTest {
  private static Elements of(float... values) {
    return new Elements() {
      @Override
      public long count() {
        return values.length;
      }

      @Override
      public void read(long first, int count, float[] target) {
        System.arraycopy(values, (int) first, target, 0, count);
      }
    };
  }

  /** Which elements are above, by sorting: greater magnitudes first, of equal ones the first first, zeros never. */
  private static boolean[] sorted(float[] values, long count) {
    boolean[] above = new boolean[values.length];
    IntStream.range(0, values.length)
        .boxed()
        .sorted((a, b) -> Float.compare(Math.abs(values[b]), Math.abs(values[a])))
        .limit(count)
        .filter(i -> values[i] != 0)
        .forEach(i -> above[i] = true);
    return above;
  }

  private static boolean[] above(Cut cut, float[] values) {
    boolean[] above = new boolean[values.length];
    for (int i = 0; i < values.length; i++) {
      above[i] = values[i] != 0 && cut.isAbove(values[i], i);
    }
    return above;
  }

  private static void assertAllLines(float[] values, long... counts) throws IOException {
    List<Cut> cuts = Selection.top(of(values), counts);
    assertEquals(counts.length, cuts.size());
    for (int i = 0; i < counts.length; i++) {
      assertArrayEquals(sorted(values, counts[i]), above(cuts.get(i), values), counts[i] + " of " + values.length);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 7, 64, 1000})
  void everyLineOfRandomValuesIsThatOfASort(int size) throws IOException {
    Random random = new Random(size);
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (float) (random.nextGaussian() * Math.pow(10, random.nextInt(9) - 6));
    }
    for (long count = 0; count <= size; count += Math.max(1, size / 50)) {
      assertAllLines(values, count, size);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {5, 100, 999})
  void equalMagnitudesRankByPosition(int size) throws IOException {
    Random random = new Random(size);
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (random.nextInt(5) - 2) * 0.25f;
    }
    for (long count = 0; count <= size; count++) {
      assertAllLines(values, count);
    }
  }

  @Test
  void valuesAreReadAcrossBlocks() throws IOException {
    Random random = new Random(3);
    float[] values = new float[3 * 65536 + 17];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextInt(20) == 0 ? 1.5f : (float) random.nextGaussian();
    }
    long greater = IntStream.range(0, values.length).filter(i -> Math.abs(values[i]) > 1.5f).count();
    assertAllLines(values, 1, greater, greater + 1, greater + 5000, values.length / 2, values.length - 1);
  }

  @Test
  void subnormalsSignedZerosAndTheGreatestFloatRankByMagnitude() throws IOException {
    float[] values = {-0f, Float.MIN_VALUE, 0, -Float.MAX_VALUE, -2 * Float.MIN_VALUE, Float.MIN_NORMAL, 1, -1, Math.nextUp(1f)};
    for (long count = 0; count <= values.length; count++) {
      assertAllLines(values, count);
    }
  }

  @Test
  void severalRunsAreNumberedThroughAndThoseOfZerosNotCounted() throws IOException {
    float[][] runs = {{3, 1, 1}, {0, 0, 0, 0}, {1, -2, 1}};
    long[] seen = new long[2];
    Cut cut = Selection.top(List.of(of(runs[0]), of(runs[1]), of(runs[2])), (elements, nonZero) -> {
      seen[0] = elements;
      seen[1] = nonZero;
      return new long[] {4};
    }).get(0);
    assertArrayEquals(new long[] {6, 6}, seen);
    // 3 and 2, and the first two ones, which are elements 1 and 2.
    assertEquals(new Cut(Float.floatToRawIntBits(1), 2), cut);
  }

  @Test
  void nothingOfNothingIsAbove() throws IOException {
    assertEquals(List.of(Cut.NONE), Selection.top(of(), 0));
    assertEquals(List.of(Cut.NONE, Cut.ALL), Selection.top(of(new float[10]), 0, 3));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 64, 5000})
  void ranksAreThoseOfAStableSort(int size) {
    Random random = new Random(size);
    float[] values = new float[size + 3];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextBoolean() ? (random.nextInt(7) - 3) * 1e-3f : (float) random.nextGaussian();
    }
    int[] expected = IntStream.range(0, size)
        .boxed()
        .sorted((a, b) -> Float.compare(Math.abs(values[3 + a]), Math.abs(values[3 + b])))
        .mapToInt(Integer::intValue)
        .toArray();
    MagnitudeRanks ranks = new MagnitudeRanks();
    ranks.order(values, 0, size);
    assertArrayEquals(expected, Arrays.copyOf(ranks.order(values, 3, size), size));
  }
}
