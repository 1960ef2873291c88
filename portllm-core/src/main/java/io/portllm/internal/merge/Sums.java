package io.portllm.internal.merge;

/** Weighted sums of changes, element by element: taken in float64 in the order of the patches, and rounded once to float32. */
final class Sums {
  private Sums() {}

  /** Σ wᵢ·δᵢ. */
  static void all(float[][] values, double[] weights, int count, float[] target, int at) {
    for (int e = 0; e < count; e++) {
      double sum = 0;
      for (int i = 0; i < weights.length; i++) {
        sum += weights[i] * values[i][e];
      }
      target[at + e] = (float) sum;
    }
  }

  /**
   * Σ wᵢ·δᵢ over the patches whose vote vᵢ·δᵢ has the sign of the sum of votes; a sum of zero counts as positive.
   *
   * @param mean whether it is divided by Σ |wᵢ| over the same patches
   */
  static void agreeing(float[][] values, double[] votes, double[] weights, boolean mean, int count, float[] target, int at) {
    for (int e = 0; e < count; e++) {
      double all = 0;
      for (int i = 0; i < weights.length; i++) {
        all += votes[i] * values[i][e];
      }
      double sign = all < 0 ? -1 : 1;
      double sum = 0;
      double divisor = 0;
      for (int i = 0; i < weights.length; i++) {
        if (votes[i] * values[i][e] * sign > 0) {
          sum += weights[i] * values[i][e];
          divisor += Math.abs(weights[i]);
        }
      }
      target[at + e] = (float) (mean && divisor != 0 ? sum / divisor : sum);
    }
  }
}
