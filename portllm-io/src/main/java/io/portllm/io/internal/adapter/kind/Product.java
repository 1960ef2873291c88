package io.portllm.io.internal.adapter.kind;

import io.portllm.Tensor;
import java.io.IOException;

/** The product {@code B·diag(scales)·A} of two factors, or its transpose, by rows. Sums over the rank in float64, first to last. */
final class Product {
  private final Tensor b;
  private final Tensor a;
  private final boolean transposed;
  private final Kept kept;

  Product(Tensor b, Tensor a, boolean transposed, Kept kept) {
    this.b = b;
    this.a = a;
    this.transposed = transposed;
    this.kept = kept;
  }

  /** Some rows, whose left factor is at hand. */
  final class Rows {
    private final float[] left;
    private final float[] right;

    private Rows(float[] left, float[] right) {
      this.left = left;
      this.right = right;
    }

    /**
     * Adds a row to {@code target}.
     *
     * @param row counted from the first of these
     * @param scales one for each rank
     */
    void addTo(int row, double[] scales, double[] target) {
      int rank = scales.length;
      for (int k = 0; k < rank; k++) {
        double factor = scales[k] * left[row * rank + k];
        int start = k * target.length;
        for (int i = 0; i < target.length; i++) {
          target[i] += factor * right[start + i];
        }
      }
    }
  }

  /** Rows {@code from} to {@code from + count} (exclusive). */
  Rows rows(long from, int count) throws IOException {
    return new Rows(left(from, count), kept.floats(this, "right", this::right));
  }

  private int rank() {
    return Math.toIntExact(a.info().shape().rows());
  }

  private float[] left(long from, int count) throws IOException {
    int rank = rank();
    float[] left = new float[count * rank];
    if (!transposed) {
      Numbers.read(b, from * rank, left.length, left);
      return left;
    }
    long in = a.info().shape().columns();
    float[] part = new float[count];
    for (int k = 0; k < rank; k++) {
      Numbers.read(a, k * in + from, count, part);
      for (int row = 0; row < count; row++) {
        left[row * rank + k] = part[row];
      }
    }
    return left;
  }

  private float[] right() throws IOException {
    if (!transposed) {
      return Numbers.all(a);
    }
    int rank = rank();
    float[] factor = Numbers.all(b);
    int out = factor.length / rank;
    float[] right = new float[factor.length];
    for (int row = 0; row < out; row++) {
      for (int k = 0; k < rank; k++) {
        right[k * out + row] = factor[row * rank + k];
      }
    }
    return right;
  }
}
