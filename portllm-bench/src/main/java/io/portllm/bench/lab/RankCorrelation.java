package io.portllm.bench.lab;

import java.util.List;

/** Spearman's rank correlation, equal values sharing the mean of their ranks. */
final class RankCorrelation {
  private RankCorrelation() {}

  /** The correlation of two lists of the same length; NaN if one has equal values only. */
  static double of(List<Double> one, List<Double> other) {
    double[] x = ranks(one);
    double[] y = ranks(other);
    double mean = (x.length + 1) / 2.0;
    double products = 0;
    double squaresOfX = 0;
    double squaresOfY = 0;
    for (int i = 0; i < x.length; i++) {
      products += (x[i] - mean) * (y[i] - mean);
      squaresOfX += (x[i] - mean) * (x[i] - mean);
      squaresOfY += (y[i] - mean) * (y[i] - mean);
    }
    return products / Math.sqrt(squaresOfX * squaresOfY);
  }

  private static double[] ranks(List<Double> values) {
    return values.stream()
        .mapToDouble(value -> {
          long below = values.stream().filter(other -> other < value).count();
          long equal = values.stream().filter(value::equals).count();
          return below + (equal + 1) / 2.0;
        })
        .toArray();
  }
}
