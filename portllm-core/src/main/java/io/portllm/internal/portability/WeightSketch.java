package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.PRODUCTS;
import static io.portllm.portability.TensorSketch.SIDE;
import static io.portllm.portability.TensorSketch.WEIGHTS;
import static io.portllm.portability.TensorSketch.WIDTH;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.portability.TensorSketch;
import java.util.Optional;

/** The sketch of weights that come row by row, or of a vector that comes in runs. */
final class WeightSketch {
  private final Optional<ChangeSketch> change;
  private final ColumnSums columnSums;
  private final RowSums rowSums;
  private final double[][] last = new double[ColumnSums.ROWS][SIDE];
  private final double[] weights = new double[WEIGHTS];
  private final double[][] output = new double[WIDTH][SIDE];

  private WeightSketch(int columns, Optional<ChangeSketch> change) {
    this.change = change;
    this.columnSums = new ColumnSums(Hashes.COLUMNS, columns, SIDE);
    this.rowSums = new RowSums(Hashes.ROWS, columns, SIDE);
  }

  /** A matrix, with products with a change to which the same rows are added first. */
  static WeightSketch ofMatrix(int columns, Optional<ChangeSketch> change) {
    return new WeightSketch(columns, change);
  }

  static WeightSketch ofVector() {
    return new WeightSketch(0, Optional.empty());
  }

  /** Adds rows of a matrix from number {@code number} on: up to four, those {@code from} to {@code to} of {@code rows}. */
  void addRows(long number, double[][] rows, int from, int to) {
    for (int row = from; row < to; row++) {
      rowSums.add(number + row - from, rows[row]);
    }
    if (change.isPresent()) {
      columnSums.of(rows, from, to, last);
      for (int row = 0; row < to - from; row++) {
        addOutput(change.get().last()[row], last[row]);
      }
    }
  }

  private void addOutput(double[] changed, double[] row) {
    for (int j = 0; j < WIDTH; j++) {
      double[] sums = output[j];
      double factor = changed[j];
      for (int k = 0; k < SIDE; k++) {
        sums[k] += factor * row[k];
      }
    }
  }

  /** Adds elements of a vector from number {@code first} on: those {@code from} to {@code to} of {@code values}. */
  void addRun(long first, double[] values, int count) {
    for (int i = 0; i < count; i++) {
      long bits = Hashes.bits(Hashes.ELEMENTS, first + i);
      weights[Hashes.bucket(bits, WEIGHTS)] += Hashes.sign(bits) * values[i];
    }
  }

  /** The sketch of all that was added, of weights with this norm. */
  TensorSketch finish(double norm) {
    double[][] reduced = rowSums.sums();
    if (reduced[0].length > 0) {
      for (int from = 0; from < SIDE; from += ColumnSums.ROWS) {
        columnSums.of(reduced, from, SIDE, last);
        for (int row = 0; row < ColumnSums.ROWS; row++) {
          System.arraycopy(last[row], 0, weights, (from + row) * SIDE, SIDE);
        }
      }
    }
    ImmutableDoubleArray none = ImmutableDoubleArray.of();
    ImmutableDoubleArray of = ImmutableDoubleArray.copyOf(weights);
    if (change.isEmpty()) {
      return new TensorSketch(norm, of, none, none, none);
    }
    return new TensorSketch(
        norm,
        of,
        ImmutableDoubleArray.copyOf(change.get().signature()),
        ImmutableDoubleArray.copyOf(rowSums.times(change.get().reducedRows())),
        ImmutableDoubleArray.copyOf(flatOutput()));
  }

  private double[] flatOutput() {
    double[] flat = new double[PRODUCTS];
    for (int j = 0; j < WIDTH; j++) {
      System.arraycopy(output[j], 0, flat, j * SIDE, SIDE);
    }
    return flat;
  }
}
