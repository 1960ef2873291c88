package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;

/**
 * DeLoRA (arXiv 2503.18225): {@code B·diag(λ / (r·‖aₖ‖·‖bₖ‖))·A}, each column multiplied by the norm of the weight's column. The norms
 * are those that the adapter stores, or take a pass over the whole weight, done once for each weight.
 */
final class Delora extends WeightChange {
  /** PEFT's bound below which norms of factors are not taken. */
  private static final double LEAST_NORM = 1e-4f;

  private final Tensor b;
  private final Tensor a;
  private final Tensor lambda;
  private final Optional<Tensor> norms;
  private final Product product;
  private final Kept kept;

  /**
   * The change by these factors.
   *
   * @param shape the weight's shape, out × in
   * @param b out × rank
   * @param a rank × in
   * @param lambda one element
   * @param norms one for each column, where they are not to be those of the weights that are changed
   */
  Delora(Shape shape, Tensor b, Tensor a, Tensor lambda, Optional<Tensor> norms, Kept kept) {
    super(shape, norms.map(stored -> new Tensor[] {b, a, lambda, stored}).orElse(new Tensor[] {b, a, lambda}));
    this.b = b;
    this.a = a;
    this.lambda = lambda;
    this.norms = norms;
    this.product = new Product(b, a, false, kept);
    this.kept = kept;
  }

  @Override
  public boolean dependsOnWeights() {
    return norms.isEmpty();
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    double[] scales = kept.doubles(this, "ranks", this::rankScales);
    double[] perColumn =
        norms.isPresent()
            ? kept.doubles(this, "norms", this::storedNorms)
            : kept.doubles(this, weights, () -> ColumnNorms.of(weights, shape(), ColumnNorms.NOTHING_ADDED));
    Product.Rows added = product.rows(fromRow, rows);
    double[] row = new double[columns];
    for (int r = 0; r < rows; r++) {
      Arrays.fill(row, 0);
      added.addTo(r, scales, row);
      for (int i = 0; i < columns; i++) {
        values[r * columns + i] = (float) (row[i] * perColumn[i]);
      }
    }
  }

  /** What each rank-one part is multiplied by. */
  private double[] rankScales() throws IOException {
    float[] left = Numbers.all(b);
    float[] right = Numbers.all(a);
    int rank = Math.toIntExact(a.info().shape().rows());
    int in = right.length / rank;
    double strength = Numbers.all(lambda)[0];
    double[] scales = new double[rank];
    for (int k = 0; k < rank; k++) {
      double aSquares = 0;
      for (int i = k * in; i < (k + 1) * in; i++) {
        aSquares += (double) right[i] * right[i];
      }
      double bSquares = 0;
      for (int i = k; i < left.length; i += rank) {
        bSquares += (double) left[i] * left[i];
      }
      scales[k] = strength / rank / (Math.max(LEAST_NORM, Math.sqrt(aSquares)) * Math.max(LEAST_NORM, Math.sqrt(bSquares)));
    }
    return scales;
  }

  private double[] storedNorms() throws IOException {
    float[] stored = Numbers.all(norms.orElseThrow());
    double[] wide = new double[stored.length];
    for (int i = 0; i < stored.length; i++) {
      wide[i] = stored[i];
    }
    return wide;
  }
}
