package io.portllm.internal.extract;

import io.portllm.internal.patch.RowEvaluator;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;

/**
 * A change as a matrix D that is only ever read from its first row to its last, a few rows at a time. Each method is one such pass. Values
 * are float32, sums float64. Thin matrices are held by columns: {@code width} columns, one after the other.
 */
public final class Matrix {
  /** Rows of D that are held at a time, and columns that are worked on at a time: a square of them fits the second-level cache. */
  private static final int BLOCK = 128;

  private final RowEvaluator change;
  private final BooleanSupplier cancelled;
  private final int rows;
  private final int columns;
  private final float[] chunk;
  private final double[][] block = new double[BLOCK][BLOCK];
  private final double[] tile = new double[BLOCK];
  private double squares;
  private long nonFinite;

  /** The matrix of {@code change}; each block of rows that is read asks {@code cancelled} first. */
  public Matrix(RowEvaluator change, BooleanSupplier cancelled) {
    this.change = change;
    this.cancelled = cancelled;
    this.rows = Math.toIntExact(change.shape().rows());
    this.columns = Math.toIntExact(change.shape().columns());
    this.chunk = new float[Math.multiplyExact(Math.min(BLOCK, rows), columns)];
  }

  int rows() {
    return rows;
  }

  int columns() {
    return columns;
  }

  /** The sum of the squares of D. Known after {@link #sample}. */
  double squares() {
    return squares;
  }

  /** How many values of D are NaN or infinite. Known after {@link #sample}. */
  long nonFinite() {
    return nonFinite;
  }

  /**
   * Dᵀ·Ω for normally distributed Ω, divided by the Frobenius norm of D.
   *
   * @param width the columns of Ω
   * @param skip how many columns were drawn before with this seed; other columns are drawn
   */
  double[] sample(int width, int skip, long seed) throws IOException {
    double[] sums = new double[Math.multiplyExact(width, columns)];
    double[] factors = new double[width * BLOCK];
    squares = 0;
    nonFinite = 0;
    for (int from = 0; from < rows; from += BLOCK) {
      int count = read(from);
      for (int i = 0; i < count; i++) {
        // A generator for each row: what is drawn does not depend on how rows are grouped. Random is specified to the bit.
        Random random = new Random(mix(mix(mix(seed) + from + i) + skip));
        for (int j = 0; j < width; j++) {
          factors[j * BLOCK + i] = random.nextGaussian();
        }
        double square = 0;
        for (int k = i * columns; k < (i + 1) * columns; k++) {
          square += (double) chunk[k] * chunk[k];
        }
        squares += square;
      }
      addTransposed(sums, factors, width, count);
    }
    double norm = Math.sqrt(squares);
    for (int i = 0; i < sums.length && norm > 0; i++) {
      sums[i] /= norm;
    }
    return sums;
  }

  /** Dᵀ·D·X. */
  double[] power(double[] x, int width) throws IOException {
    double[] sums = new double[width * columns];
    double[] products = new double[width * BLOCK];
    for (int from = 0; from < rows; from += BLOCK) {
      int count = read(from);
      multiply(x, width, count, products);
      addTransposed(sums, products, width, count);
    }
    return sums;
  }

  /** D·X. */
  double[] times(double[] x, int width) throws IOException {
    double[] all = new double[Math.multiplyExact(width, rows)];
    double[] products = new double[width * BLOCK];
    for (int from = 0; from < rows; from += BLOCK) {
      int count = read(from);
      multiply(x, width, count, products);
      for (int j = 0; j < width; j++) {
        System.arraycopy(products, j * BLOCK, all, j * rows + from, count);
      }
    }
    return all;
  }

  /** The sum of the squares of D − B·A, for B of rows × rank and A of rank × columns, both row-major. */
  public double squaresWithout(float[] b, float[] a, int rank) throws IOException {
    double[][] right = new double[rank][BLOCK];
    double[] left = new double[BLOCK * rank];
    double total = 0;
    double[] squaresOfRows = new double[BLOCK];
    for (int from = 0; from < rows; from += BLOCK) {
      int count = read(from);
      for (int i = 0; i < count * rank; i++) {
        left[i] = b[from * rank + i];
      }
      Arrays.fill(squaresOfRows, 0);
      for (int column = 0; column < columns; column += BLOCK) {
        int length = Math.min(BLOCK, columns - column);
        for (int k = 0; k < rank; k++) {
          for (int j = 0; j < length; j++) {
            right[k][j] = a[k * columns + column + j];
          }
        }
        for (int i = 0; i < count; i++) {
          Arrays.fill(tile, 0);
          Vectors.addRows(tile, length, left, i * rank, 1, right, rank);
          double square = squaresOfRows[i];
          for (int k = 0; k < length; k++) {
            double rest = chunk[i * columns + column + k] - tile[k];
            square += rest * rest;
          }
          squaresOfRows[i] = square;
        }
      }
      for (int i = 0; i < count; i++) {
        total += squaresOfRows[i];
      }
    }
    return total;
  }

  /** The finalizer of SplitMix64: close numbers become unrelated seeds. */
  private static long mix(long value) {
    long z = value + 0x9E3779B97F4A7C15L;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  private int read(int from) throws IOException {
    if (cancelled.getAsBoolean()) {
      throw new CancellationException("cancelled");
    }
    int count = Math.min(BLOCK, rows - from);
    nonFinite += change.read(from, count, chunk);
    return count;
  }

  /** The rows of the chunk times X, by columns of {@link #BLOCK} values. */
  private void multiply(double[] x, int width, int count, double[] products) {
    Arrays.fill(products, 0);
    for (int column = 0; column < columns; column += BLOCK) {
      int length = Math.min(BLOCK, columns - column);
      for (int i = 0; i < count; i++) {
        for (int k = 0; k < length; k++) {
          block[k][i] = chunk[i * columns + column + k];
        }
      }
      for (int j = 0; j < width; j++) {
        System.arraycopy(products, j * BLOCK, tile, 0, count);
        Vectors.addRows(tile, count, x, j * columns + column, 1, block, length);
        System.arraycopy(tile, 0, products, j * BLOCK, count);
      }
    }
  }

  /** Adds the chunk's transpose times factors, given by columns of {@link #BLOCK} values, to sums. */
  private void addTransposed(double[] sums, double[] factors, int width, int count) {
    for (int column = 0; column < columns; column += BLOCK) {
      int length = Math.min(BLOCK, columns - column);
      for (int i = 0; i < count; i++) {
        double[] row = block[i];
        for (int k = 0; k < length; k++) {
          row[k] = chunk[i * columns + column + k];
        }
      }
      for (int j = 0; j < width; j++) {
        System.arraycopy(sums, j * columns + column, tile, 0, length);
        Vectors.addRows(tile, length, factors, j * BLOCK, 1, block, count);
        System.arraycopy(tile, 0, sums, j * columns + column, length);
      }
    }
  }
}
