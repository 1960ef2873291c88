package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** The change of a stack of matrices by the factors of each. In float32: B times the scale, times A, summed over the rank. */
public final class StackedFactors implements Stacks.OfProducts {
  private final Shape shape;
  private final ImmutableList<Delta.LowRank> products;
  private final Factors factors = new Factors();

  /**
   * The change by these products.
   *
   * @param shape of three dimensions or more, the last two those of each product
   * @param products one for each matrix; of rank 0 where it does not change
   */
  public StackedFactors(Shape shape, List<Delta.LowRank> products) {
    this.shape = shape;
    this.products = ImmutableList.copyOf(products);
    Shape matrix = Stacks.matrix(shape);
    if (Stacks.count(shape) != products.size() || !products.stream().allMatch(product -> product.shape().equals(matrix))) {
      throw new IllegalArgumentException(shape + " is no stack of " + products.size() + " products");
    }
  }

  @Override
  public Delta.LowRank product(int matrix) {
    return products.get(matrix);
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public long rowLength() {
    return shape.dimension(shape.rank() - 1);
  }

  @Override
  public boolean dependsOnWeights() {
    return false;
  }

  @Override
  public List<Tensor> inputs() {
    return products.stream().flatMap(product -> List.of(product.b(), product.a()).stream()).toList();
  }

  @Override
  public void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    long height = shape.dimension(shape.rank() - 2);
    int columns = Math.toIntExact(rowLength());
    Arrays.fill(target, 0, Math.toIntExact((toRow - fromRow) * columns), 0);
    long row = fromRow;
    while (row < toRow) {
      Delta.LowRank product = products.get(Math.toIntExact(row / height));
      long from = row % height;
      long to = Math.min(height, from + toRow - row);
      add(product, from, to, columns, target, (int) (row - fromRow) * columns);
      row += to - from;
    }
  }

  private void add(Delta.LowRank product, long from, long to, int columns, float[] target, int start) throws IOException {
    int rank = product.rank();
    float scale = (float) product.scale();
    float[] left = factors.left(product, from, to);
    float[] right = factors.right(product);
    for (int row = 0; row < to - from; row++) {
      int at = start + row * columns;
      for (int k = 0; k < rank; k++) {
        float factor = left[row * rank + k] * scale;
        for (int i = 0; i < columns; i++) {
          target[at + i] += factor * right[k * columns + i];
        }
      }
    }
  }
}
