package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** Norms of the columns of a matrix, in float64 and in one pass that holds few rows at a time. */
final class ColumnNorms {
  /** Elements held at a time, or one row if that is more. */
  private static final int HELD = 256 << 10;

  static final Added NOTHING_ADDED = (from, rows) -> (row, values) -> {};

  private ColumnNorms() {}

  /** What is added to the weights first. */
  interface Added {
    /** What is added to {@code rows} rows from {@code from} on. */
    Rows rows(long from, int rows) throws IOException;

    /** Adds to single rows. */
    interface Rows {
      void addTo(int row, double[] values);
    }
  }

  /**
   * The norm of each column, over as many rows as both {@code shape} and the weights have. Row is added after row, so that the bits do not
   * depend on how many are held.
   */
  static double[] of(Tensor weights, Shape shape, Added added) throws IOException {
    int columns = Math.toIntExact(shape.columns());
    long all = Math.min(shape.rows(), weights.info().shape().rows());
    int step = (int) Math.min(all, Math.max(1, HELD / columns));
    float[] values = new float[Math.multiplyExact(step, columns)];
    double[] row = new double[columns];
    double[] sums = new double[columns];
    for (long from = 0; from < all; from += step) {
      int rows = (int) Math.min(step, all - from);
      Numbers.read(weights, from * columns, rows * columns, values);
      Added.Rows addition = added.rows(from, rows);
      for (int r = 0; r < rows; r++) {
        for (int i = 0; i < columns; i++) {
          row[i] = values[r * columns + i];
        }
        addition.addTo(r, row);
        for (int i = 0; i < columns; i++) {
          sums[i] += row[i] * row[i];
        }
      }
    }
    for (int i = 0; i < columns; i++) {
      sums[i] = Math.sqrt(sums[i]);
    }
    return sums;
  }
}
