package io.portllm.internal.merge;

import java.io.IOException;
import java.util.Arrays;

/** A weighted sum of changes whose weights follow from the angles between them, over the whole tensor or in each row. */
final class AngleSum extends CombinedChange {
  /** Weights of changes. */
  interface Weights {
    double[] of(Gram gram);
  }

  private final boolean byRow;
  private final Weights weights;
  private final Memo<double[]> ofTensor;

  AngleSum(Inputs inputs, boolean byRow, Weights weights) {
    super(inputs, byRow);
    this.byRow = byRow;
    this.weights = weights;
    this.ofTensor = new Memo<>(() -> weights.of(Gram.of(inputs.all())));
  }

  @Override
  void combine(long first, int rows, int columns, float[][] values, float[] target, int at) throws IOException {
    if (!byRow) {
      Sums.all(values, ofTensor.get(), rows * columns, target, at);
      return;
    }
    for (int row = 0; row < rows; row++) {
      Gram gram = Gram.none(values.length);
      gram.add(values, row * columns, columns);
      double[] factors = weights.of(gram);
      for (int e = row * columns; e < (row + 1) * columns; e++) {
        double sum = 0;
        for (int i = 0; i < factors.length; i++) {
          sum += factors[i] * values[i][e];
        }
        target[at + e] = (float) sum;
      }
    }
  }

  /**
   * Spherical interpolation of two changes. Where the angle is not defined or says nothing (a change of zero, changes along one line),
   * linear interpolation, which is its limit.
   *
   * @param t 0 for the first, 1 for the second
   */
  static double[] slerp(Gram gram, double t) {
    double cosine = gram.cosine(0, 1);
    double sine = Math.sqrt((1 - cosine) * (1 + cosine));
    if (gram.product(0, 0) == 0 || gram.product(1, 1) == 0 || sine < 1e-6) {
      return new double[] {1 - t, t};
    }
    double angle = Math.acos(cosine);
    return new double[] {Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine};
  }

  /**
   * Model stock (arXiv 2403.19522): the mean change times N·c / (1 + (N − 1)·c), c the mean cosine between two changes. The ratio is
   * kept within −1 to 1: it runs off where the changes cancel out.
   */
  static double[] modelStock(Gram gram) {
    int n = gram.size();
    double cosine = gram.meanCosine();
    double ratio = Math.max(-1, Math.min(1, n * cosine / (1 + (n - 1) * cosine)));
    double[] weights = new double[n];
    Arrays.fill(weights, (Double.isNaN(ratio) ? 0 : ratio) / n);
    return weights;
  }
}
