package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.PRODUCTS;
import static io.portllm.portability.TensorSketch.SIDE;
import static io.portllm.portability.TensorSketch.WEIGHTS;
import static io.portllm.portability.TensorSketch.WIDTH;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.portability.TensorSketch;
import java.util.Arrays;
import java.util.Optional;

/**
 * The sketch of weights that come row by row, or of a vector that comes in runs. S and T are count sketches (Charikar, Chen and
 * Farach-Colton, 2002): every row and every column goes to one of {@value TensorSketch#SIDE} with a random sign.
 */
final class WeightSketch {
  private final int columns;
  private final Optional<ChangeSketch> change;
  private final int[] columnBuckets;
  private final double[] columnSigns;
  private final double[] reducedRows;
  private final double[] row = new double[SIDE];
  private final double[] weights = new double[WEIGHTS];
  private final double[] output = new double[PRODUCTS];
  private double squares;

  private WeightSketch(int columns, Optional<ChangeSketch> change) {
    this.columns = columns;
    this.change = change;
    this.columnBuckets = Hashes.buckets(Hashes.COLUMNS, columns, SIDE);
    this.columnSigns = Hashes.signs(Hashes.COLUMNS, columns);
    this.reducedRows = new double[change.isPresent() ? Math.multiplyExact(SIDE, columns) : 0];
  }

  /** A matrix, with products with a change to which each row is added first. */
  static WeightSketch ofMatrix(int columns, Optional<ChangeSketch> change) {
    return new WeightSketch(columns, change);
  }

  static WeightSketch ofVector() {
    return new WeightSketch(0, Optional.empty());
  }

  /** Adds row {@code number} of a matrix, {@code values} from {@code at} on. */
  void addRow(long number, double[] values, int at) {
    Arrays.fill(row, 0);
    double square = 0;
    for (int i = 0; i < columns; i++) {
      double value = values[at + i];
      square += value * value;
      row[columnBuckets[i]] += columnSigns[i] * value;
    }
    squares += square;
    long bits = Hashes.bits(Hashes.ROWS, number);
    int bucket = Hashes.bucket(bits, SIDE);
    double sign = Hashes.sign(bits);
    for (int k = 0; k < SIDE; k++) {
      weights[bucket * SIDE + k] += sign * row[k];
    }
    if (change.isPresent()) {
      int to = bucket * columns;
      for (int i = 0; i < columns; i++) {
        reducedRows[to + i] += sign * values[at + i];
      }
      double[] changed = change.get().row();
      for (int j = 0; j < WIDTH; j++) {
        for (int k = 0; k < SIDE; k++) {
          output[j * SIDE + k] += changed[j] * row[k];
        }
      }
    }
  }

  /** Adds elements of a vector from number {@code first} on. */
  void addRun(long first, double[] values, int count) {
    double square = 0;
    for (int i = 0; i < count; i++) {
      long bits = Hashes.bits(Hashes.ELEMENTS, first + i);
      weights[Hashes.bucket(bits, WEIGHTS)] += Hashes.sign(bits) * values[i];
      square += values[i] * values[i];
    }
    squares += square;
  }

  /** The sketch of all that was added. */
  TensorSketch finish() {
    ImmutableDoubleArray none = ImmutableDoubleArray.of();
    ImmutableDoubleArray of = ImmutableDoubleArray.copyOf(weights);
    if (change.isEmpty()) {
      return new TensorSketch(Math.sqrt(squares), of, none, none, none);
    }
    return new TensorSketch(
        Math.sqrt(squares),
        of,
        ImmutableDoubleArray.copyOf(change.get().signature()),
        ImmutableDoubleArray.copyOf(input()),
        ImmutableDoubleArray.copyOf(output));
  }

  private double[] input() {
    double[] changed = change.get().reducedRows();
    double[] input = new double[PRODUCTS];
    for (int k = 0; k < SIDE; k++) {
      for (int j = 0; j < WIDTH; j++) {
        double sum = 0;
        for (int i = 0; i < columns; i++) {
          sum += reducedRows[k * columns + i] * changed[j * columns + i];
        }
        input[k * WIDTH + j] = sum;
      }
    }
    return input;
  }
}
