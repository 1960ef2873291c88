package io.portllm.internal.merge;

/** Weighted sums of changes, element by element: taken in float64 in the order of the patches, and rounded once to float32. */
final class Sums {
  private Sums() {}

  /** Σ wᵢ·δᵢ. */
  static void all(float[][] values, double[] weights, int count, float[] target, int at) {
    double[] sums = new double[count];
    add(values, weights, count, sums);
    for (int e = 0; e < count; e++) {
      target[at + e] = (float) sums[e];
    }
  }

  private static void add(float[][] values, double[] weights, int count, double[] sums) {
    for (int i = 0; i < weights.length; i++) {
      float[] change = values[i];
      double weight = weights[i];
      for (int e = 0; e < count; e++) {
        sums[e] += weight * change[e];
      }
    }
  }

  /**
   * Σ wᵢ·δᵢ over the patches whose vote vᵢ·δᵢ has the sign of the sum of votes; a sum of zero counts as positive.
   *
   * @param shares what it is divided by the sum of, over the same patches; zeros to divide by nothing
   */
  static void agreeing(float[][] values, double[] votes, double[] weights, double[] shares, int count, float[] target, int at) {
    double[] elected = new double[count];
    add(values, votes, count, elected);
    double[] sums = new double[count];
    double[] divisors = new double[count];
    for (int i = 0; i < weights.length; i++) {
      float[] change = values[i];
      double weight = weights[i];
      double share = shares[i];
      for (int e = 0; e < count; e++) {
        double vote = elected[e] < 0 ? -votes[i] : votes[i];
        boolean agrees = vote * change[e] > 0;
        sums[e] += agrees ? weight * change[e] : 0;
        divisors[e] += agrees ? share : 0;
      }
    }
    for (int e = 0; e < count; e++) {
      target[at + e] = (float) (divisors[e] == 0 ? sums[e] : sums[e] / divisors[e]);
    }
  }
}
