package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.Arrays;

/**
 * DoRA (arXiv 2402.09353, equation 5): {@code W' = m · V / ‖V‖} with {@code V = W + s·BA}, the norm taken over the inputs of each output.
 *
 * <p>A weight stored out × in has its norms along rows. One stored in × out, as embeddings are, has them along columns: they take a pass over
 * the whole weight, done once for each weight.
 */
final class Dora extends WeightChange {
  private final Product product;
  private final double[] rankScales;
  private final Tensor magnitude;
  private final boolean transposed;
  private final Kept kept;

  /**
   * The change by these factors.
   *
   * @param shape the weight's shape
   * @param b out × rank
   * @param a rank × in
   * @param scale what the product is multiplied by
   * @param transposed whether the weight is stored in × out
   * @param magnitude as many elements as there are outputs
   */
  Dora(Shape shape, Tensor b, Tensor a, double scale, boolean transposed, Tensor magnitude, Kept kept) {
    super(shape, b, a, magnitude);
    this.product = new Product(b, a, transposed, kept);
    this.rankScales = new double[Math.toIntExact(a.info().shape().rows())];
    Arrays.fill(rankScales, scale);
    this.magnitude = magnitude;
    this.transposed = transposed;
    this.kept = kept;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    Product.Rows added = product.rows(fromRow, rows);
    double[] scales = transposed ? kept.doubles(this, weights, () -> columnScales(weights)) : null;
    float[] magnitudes = new float[transposed ? 0 : rows];
    if (!transposed) {
      Numbers.read(magnitude, fromRow, rows, magnitudes);
    }
    double[] row = new double[columns];
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < columns; i++) {
        row[i] = values[r * columns + i];
      }
      added.addTo(r, rankScales, row);
      double scale = transposed ? 1 : magnitudes[r] / Math.sqrt(squares(row));
      for (int i = 0; i < columns; i++) {
        double changed = row[i] * (transposed ? scales[i] : scale);
        values[r * columns + i] = (float) (changed - values[r * columns + i]);
      }
    }
  }

  /** Magnitude over norm of each column. */
  private double[] columnScales(Tensor weights) throws IOException {
    double[] scales = ColumnNorms.of(weights, shape(), (from, count) -> {
      Product.Rows added = product.rows(from, count);
      return (row, values) -> added.addTo(row, rankScales, values);
    });
    float[] magnitudes = Numbers.all(magnitude);
    for (int i = 0; i < scales.length; i++) {
      scales[i] = magnitudes[i] / scales[i];
    }
    return scales;
  }

  private static double squares(double[] row) {
    double sum = 0;
    for (double value : row) {
      sum += value * value;
    }
    return sum;
  }
}
