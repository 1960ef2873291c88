package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.WIDTH;

/** P·Δ of a change that comes row by row, and the rows of Δ·Q that were added last. */
final class ChangeSketch {
  private final int columns;
  private final ColumnSums columnSums;
  private final RowSums rowSums;
  private final double[][] last = new double[ColumnSums.ROWS][WIDTH];

  ChangeSketch(int columns) {
    this.columns = columns;
    this.columnSums = new ColumnSums(Hashes.CHANGE_COLUMNS, columns, WIDTH);
    this.rowSums = new RowSums(Hashes.CHANGE_ROWS, columns, WIDTH);
  }

  /** Adds rows from number {@code number} on: up to four, those {@code from} to {@code to} of {@code rows}. */
  void add(long number, double[][] rows, int from, int to) {
    for (int row = from; row < to; row++) {
      rowSums.add(number + row - from, rows[row]);
    }
    columnSums.of(rows, from, to, last);
  }

  /** The rows of Δ·Q that were added last. */
  double[][] last() {
    return last;
  }

  /** P·Δ. */
  RowSums rowSums() {
    return rowSums;
  }

  /** Tells patches apart: in proportion for a multiple of the same change. */
  double[] signature() {
    double[] signs = Hashes.signs(Hashes.SIGNATURE, columns);
    double[] sums = new double[WIDTH];
    for (int k = 0; k < WIDTH; k++) {
      double[] row = rowSums.sums()[k];
      for (int i = 0; i < columns; i++) {
        sums[k] += signs[i] * row[i];
      }
    }
    return sums;
  }
}
