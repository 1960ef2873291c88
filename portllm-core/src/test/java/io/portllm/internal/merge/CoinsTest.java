package io.portllm.internal.merge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class CoinsTest {
  private static final int COUNT = 1 << 18;

  private static double[] numbers(Coins coins) {
    return IntStream.range(0, COUNT).mapToDouble(coins::number).toArray();
  }

  private static double correlation(double[] a, double[] b, int lag) {
    double sum = 0;
    for (int i = 0; i + lag < COUNT; i++) {
      sum += (a[i] - 0.5) * (b[i + lag] - 0.5);
    }
    return sum * 12 / COUNT;
  }

  @Test
  void numbersAreUniform() {
    int[] counts = new int[64];
    for (double number : numbers(new Coins(1, 0, "a", 0))) {
      assertTrue(number >= 0 && number < 1);
      counts[(int) (number * 64)]++;
    }
    double expected = COUNT / 64.0;
    double chiSquared = IntStream.of(counts).mapToDouble(count -> (count - expected) * (count - expected) / expected).sum();
    // 63 degrees of freedom: mean 63, deviation 11.2.
    assertEquals(63, chiSquared, 5 * 11.2);
  }

  @Test
  void tensorsPatchesSeedsAndNeighboursAreUncorrelated() {
    double[] numbers = numbers(new Coins(1, 0, "layers.0", 0));
    double bound = 5 / Math.sqrt(COUNT);
    assertEquals(0, correlation(numbers, numbers(new Coins(1, 0, "layers.1", 0)), 0), bound);
    assertEquals(0, correlation(numbers, numbers(new Coins(1, 1, "layers.0", 0)), 0), bound);
    assertEquals(0, correlation(numbers, numbers(new Coins(2, 0, "layers.0", 0)), 0), bound);
    assertEquals(0, correlation(numbers, numbers, 1), bound);
    assertEquals(0, correlation(numbers, numbers, 2), bound);
  }

  @Test
  void beingBelowABoundIsToldAsByTheNumber() {
    Coins coins = new Coins(3, 0, "a", 5);
    for (int i = 0; i < 1000; i++) {
      double number = coins.number(i);
      for (double bound : new double[] {0, 0.2, Math.nextDown(number), number, Math.nextUp(number), 1, Double.MIN_VALUE}) {
        assertEquals(number < bound ? -1 : 0, coins.below(i, bound), number + " and " + bound);
      }
    }
  }

  /** A recipe must go on meaning the same masks. The figures are of SplitMix64 as computed with Python's integers. */
  @Test
  void numbersOfASeedStayWhatTheyAre() {
    Coins coins = new Coins(42, 1, "model.norm.weight", 0);
    assertEquals(0.6011808328960557, coins.number(0));
    assertEquals(0.8216586442880004, coins.number(1_000_000_000));
  }
}
