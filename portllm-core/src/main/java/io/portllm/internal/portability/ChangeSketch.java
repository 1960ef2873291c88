package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.WIDTH;

import java.util.Arrays;

/** P·Δ of a change that comes row by row, and the current row of Δ·Q. */
final class ChangeSketch {
  private final int columns;
  private final int[] columnBuckets;
  private final double[] columnSigns;
  private final double[] reducedRows;
  private final double[] row = new double[WIDTH];

  ChangeSketch(int columns) {
    this.columns = columns;
    this.columnBuckets = Hashes.buckets(Hashes.CHANGE_COLUMNS, columns, WIDTH);
    this.columnSigns = Hashes.signs(Hashes.CHANGE_COLUMNS, columns);
    this.reducedRows = new double[Math.multiplyExact(WIDTH, columns)];
  }

  /** Adds row {@code number}, {@code values} from {@code at} on. */
  void add(long number, double[] values, int at) {
    Arrays.fill(row, 0);
    long bits = Hashes.bits(Hashes.CHANGE_ROWS, number);
    int to = Hashes.bucket(bits, WIDTH) * columns;
    double sign = Hashes.sign(bits);
    for (int i = 0; i < columns; i++) {
      reducedRows[to + i] += sign * values[at + i];
    }
    for (int i = 0; i < columns; i++) {
      row[columnBuckets[i]] += columnSigns[i] * values[at + i];
    }
  }

  /** The row of Δ·Q that was added last. */
  double[] row() {
    return row;
  }

  /** P·Δ, row-major. */
  double[] reducedRows() {
    return reducedRows;
  }

  /** Tells patches apart: in proportion for a multiple of the same change. */
  double[] signature() {
    double[] signs = Hashes.signs(Hashes.SIGNATURE, columns);
    double[] sums = new double[WIDTH];
    for (int k = 0; k < WIDTH; k++) {
      for (int i = 0; i < columns; i++) {
        sums[k] += signs[i] * reducedRows[k * columns + i];
      }
    }
    return sums;
  }
}
