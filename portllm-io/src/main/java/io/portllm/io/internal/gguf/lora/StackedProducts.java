package io.portllm.io.internal.gguf.lora;

import com.google.common.collect.ImmutableList;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;

/** The change of a stack of matrices by a product for each run of their rows: {@code scale · B·A}, summed first to last over the rank. */
final class StackedProducts implements RowChange {
  /**
   * A product.
   *
   * @param firstRow the first row that it changes, counted through the whole stack
   * @param b rows × rank
   * @param a rank × columns
   */
  record Product(long firstRow, Tensor b, Tensor a, double scale) {
    long endRow() {
      return firstRow + b.info().shape().rows();
    }
  }

  private final Shape shape;
  private final List<Product> products;

  /** The change by these products, whose rows do not overlap; rows of none stay. */
  StackedProducts(Shape shape, List<Product> products) {
    this.shape = shape;
    this.products = ImmutableList.copyOf(products);
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
    return products.stream().flatMap(product -> List.of(product.b, product.a).stream()).toList();
  }

  @Override
  public void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    int columns = Math.toIntExact(rowLength());
    Arrays.fill(target, 0, Math.toIntExact((toRow - fromRow) * columns), 0);
    for (Product product : products) {
      long first = Math.max(fromRow, product.firstRow);
      long end = Math.min(toRow, product.endRow());
      if (first < end) {
        add(product, first - product.firstRow, (int) (end - first), target, (int) (first - fromRow) * columns);
      }
    }
  }

  private void add(Product product, long fromRow, int rows, float[] target, int from) throws IOException {
    int columns = Math.toIntExact(rowLength());
    int rank = Math.toIntExact(product.a.info().shape().rows());
    float[] left = read(product.b, fromRow * rank, rows * rank);
    float[] right = read(product.a, 0, rank * columns);
    float scale = (float) product.scale;
    for (int row = 0; row < rows; row++) {
      int at = from + row * columns;
      for (int k = 0; k < rank; k++) {
        float factor = left[row * rank + k] * scale;
        for (int i = 0; i < columns; i++) {
          target[at + i] += factor * right[k * columns + i];
        }
      }
    }
  }

  private static float[] read(Tensor tensor, long first, int count) throws IOException {
    int size = tensor.info().dtype().bytes();
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(count, size)).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(first * size, bytes);
    float[] values = new float[count];
    Floats.read(tensor.info().dtype(), bytes, 0, values, count, new int[count]);
    return values;
  }
}
