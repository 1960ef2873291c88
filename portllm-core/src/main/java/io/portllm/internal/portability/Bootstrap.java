package io.portllm.internal.portability;

import io.portllm.portability.Interval;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;

/**
 * Intervals of 95 % for differences between models that were scored on the same items: items are drawn again with replacement, all models'
 * scores of an item together, and the 2.5th and 97.5th percentile are taken (Efron, 1979).
 */
final class Bootstrap {
  private static final int SAMPLES = 2000;
  private static final double TAIL = 0.025;

  /** The 97.5th percentile of the normal distribution. */
  private static final double Z = 1.959963984540054;

  private final double[] gains = new double[SAMPLES];
  private final double[] recoveries = new double[SAMPLES];
  private int recovered;

  Bootstrap(double[] none, double[] ported, Optional<double[]> target, long seed) {
    // Random is specified to the bit, so the same seed gives the same intervals everywhere.
    Random random = new Random(seed);
    int items = none.length;
    for (int sample = 0; sample < SAMPLES; sample++) {
      double noneSum = 0;
      double portedSum = 0;
      double targetSum = 0;
      for (int i = 0; i < items; i++) {
        int item = random.nextInt(items);
        noneSum += none[item];
        portedSum += ported[item];
        targetSum += target.isPresent() ? target.get()[item] : 0;
      }
      gains[sample] = (portedSum - noneSum) / items;
      if (targetSum > noneSum) {
        recoveries[recovered++] = (portedSum - noneSum) / (targetSum - noneSum);
      }
    }
  }

  /** Of ported less no patch. */
  Interval gain() {
    return interval(gains, SAMPLES);
  }

  /** Of the part of what there is to recover; absent if no sample had any. */
  Optional<Interval> recovery() {
    return recovered == 0 ? Optional.empty() : Optional.of(interval(recoveries, recovered));
  }

  private static Interval interval(double[] values, int count) {
    double[] sorted = Arrays.copyOf(values, count);
    Arrays.sort(sorted);
    return new Interval(sorted[(int) (TAIL * (count - 1))], sorted[(int) Math.ceil((1 - TAIL) * (count - 1))]);
  }

  /** Wilson's interval for a share of {@code items} (1927, equation 4). */
  static Interval wilson(double share, int items) {
    double z2 = Z * Z / items;
    double middle = (share + z2 / 2) / (1 + z2);
    double half = Z / (1 + z2) * Math.sqrt(share * (1 - share) / items + z2 / (4 * items));
    return new Interval(Math.max(0, middle - half), Math.min(1, middle + half));
  }
}
