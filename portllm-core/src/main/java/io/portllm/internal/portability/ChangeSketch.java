package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.WIDTH;

import io.portllm.Delta;
import io.portllm.internal.patch.LowRankRows;
import java.io.IOException;
import java.util.Optional;

/** P·Δ of a change that comes row by row, and the rows of Δ·Q that were added last. */
abstract class ChangeSketch {
  private final int columns;
  final double[][] last = new double[ColumnSums.ROWS][WIDTH];

  ChangeSketch(int columns) {
    this.columns = columns;
  }

  /** A sketch of a change of {@code rows} rows: through its factors if it is of low rank, else from its values. */
  static ChangeSketch of(Delta delta, long rows, int columns) throws IOException {
    Optional<LowRankRows> product = LowRankRows.of(delta, rows);
    return product.isPresent() ? new ProductSketch(product.get(), columns) : new ValueSketch(columns);
  }

  /** Whether the change's values are needed. */
  abstract boolean needsValues();

  /** Adds rows from number {@code number} on: up to four, those {@code from} to {@code to} of {@code rows}. */
  abstract void add(long number, double[][] rows, int from, int to) throws IOException;

  /** The rows of Δ·Q that were added last. */
  final double[][] last() {
    return last;
  }

  /** P·Δ. */
  abstract double[][] reducedRows();

  /** Tells patches apart: in proportion for a multiple of the same change. */
  final double[] signature() {
    double[][] reduced = reducedRows();
    double[] signs = Hashes.signs(Hashes.SIGNATURE, columns);
    double[] sums = new double[WIDTH];
    for (int k = 0; k < WIDTH; k++) {
      for (int i = 0; i < columns; i++) {
        sums[k] += signs[i] * reduced[k][i];
      }
    }
    return sums;
  }
}
