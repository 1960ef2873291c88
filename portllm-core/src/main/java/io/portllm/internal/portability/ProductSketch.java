package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.SIDE;
import static io.portllm.portability.TensorSketch.WEIGHTS;
import static io.portllm.portability.TensorSketch.WIDTH;

import io.portllm.internal.patch.LowRankRows;
import java.io.IOException;
import java.util.Arrays;

/**
 * The sketch of a product B·A: P·Δ = (P·B)·A, Δ·Q = B·(A·Q) and S·Δ·T = (S·B)·(A·T). Takes rank instead of columns steps for each row;
 * what float32 rounds in a product's elements is left out.
 */
final class ProductSketch extends ChangeSketch {
  private final LowRankRows product;
  private final double[][] right;
  /** A·Q. */
  private final double[][] rightColumns;
  /** P·B and S·B. */
  private final RowSums leftRows;
  private final RowSums leftWeights;

  ProductSketch(LowRankRows product, int columns) throws IOException {
    super(columns);
    this.product = product;
    this.right = product.right();
    this.rightColumns = columns(Hashes.CHANGE_COLUMNS, WIDTH);
    this.leftRows = new RowSums(Hashes.CHANGE_ROWS, product.rank(), WIDTH);
    this.leftWeights = new RowSums(Hashes.ROWS, product.rank(), SIDE);
  }

  private double[][] columns(long role, int buckets) {
    ColumnSums sums = new ColumnSums(role, right[0].length, buckets);
    double[][] sketched = new double[right.length][buckets];
    double[][] four = new double[ColumnSums.ROWS][buckets];
    for (int from = 0; from < right.length; from += ColumnSums.ROWS) {
      sums.of(right, from, right.length, four);
      for (int row = 0; row < Math.min(ColumnSums.ROWS, right.length - from); row++) {
        sketched[from + row] = four[row].clone();
      }
    }
    return sketched;
  }

  @Override
  boolean needsValues() {
    return false;
  }

  @Override
  void add(long number, double[][] rows, int from, int to) throws IOException {
    for (int row = 0; row < to - from; row++) {
      double[] left = product.left(number + row);
      leftRows.add(number + row, left);
      leftWeights.add(number + row, left);
      Arrays.fill(last[row], 0);
      addProducts(left, rightColumns, last[row]);
    }
  }

  @Override
  double[][] reducedRows() {
    double[][] reduced = new double[WIDTH][right[0].length];
    for (int k = 0; k < WIDTH; k++) {
      addProducts(leftRows.sums()[k], right, reduced[k]);
    }
    return reduced;
  }

  /** S·Δ·T, row-major: the change as if it were weights. */
  double[] weights() {
    double[][] columns = columns(Hashes.COLUMNS, SIDE);
    double[] weights = new double[WEIGHTS];
    double[] row = new double[SIDE];
    for (int k = 0; k < SIDE; k++) {
      Arrays.fill(row, 0);
      addProducts(leftWeights.sums()[k], columns, row);
      System.arraycopy(row, 0, weights, k * SIDE, SIDE);
    }
    return weights;
  }

  private static void addProducts(double[] factors, double[][] rows, double[] sums) {
    for (int k = 0; k < factors.length; k++) {
      addProduct(factors[k], rows[k], sums);
    }
  }

  private static void addProduct(double factor, double[] row, double[] sums) {
    for (int i = 0; i < sums.length; i++) {
      sums[i] += factor * row[i];
    }
  }
}
