package io.portllm.internal.patch;

import io.portllm.Delta;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * A change that is a sum of low-rank products as one product: the left factors side by side, the right ones, with their scales, one below
 * the other. For one thread.
 */
public final class LowRankRows {
  /** Rows of the left factor that are read at a time. */
  private static final int WINDOW = 1024;

  private final List<Delta.Term> terms;
  private final int rank;
  private final long rows;
  private final Factors factors = new Factors();
  private double[][] window;
  private long windowStart = -1;

  private LowRankRows(List<Delta.Term> terms, long rows) {
    this.terms = terms;
    this.rank = terms.stream().mapToInt(term -> ((Delta.LowRank) term.delta()).rank()).sum();
    this.rows = rows;
  }

  /** {@code delta} as a product, if it is one of {@code rows} rows. */
  public static Optional<LowRankRows> of(Delta delta, long rows) {
    if (!delta.isAdditive()) {
      return Optional.empty();
    }
    List<Delta.Term> terms = Terms.of(delta);
    boolean products = terms.stream().allMatch(term -> term.delta() instanceof Delta.LowRank && term.delta().shape().rows() == rows);
    return products ? Optional.of(new LowRankRows(terms, rows)) : Optional.empty();
  }

  /** The inner dimension. */
  public int rank() {
    return rank;
  }

  /** The right factor, rank × columns. */
  public double[][] right() throws IOException {
    double[][] right = new double[rank][];
    int at = 0;
    for (Delta.Term term : terms) {
      Delta.LowRank product = (Delta.LowRank) term.delta();
      float[] values = factors.right(product);
      double scale = (float) (term.factor() * product.scale());
      int columns = values.length / product.rank();
      for (int k = 0; k < product.rank(); k++) {
        double[] row = new double[columns];
        for (int i = 0; i < columns; i++) {
          row[i] = scale * values[k * columns + i];
        }
        right[at++] = row;
      }
    }
    return right;
  }

  /** Row {@code number} of the left factor. Rows are to be asked for in order. */
  public double[] left(long number) throws IOException {
    if (number / WINDOW * WINDOW != windowStart) {
      read(number / WINDOW * WINDOW);
    }
    return window[(int) (number - windowStart)];
  }

  private void read(long start) throws IOException {
    int count = (int) Math.min(WINDOW, rows - start);
    window = new double[count][rank];
    windowStart = start;
    int at = 0;
    for (Delta.Term term : terms) {
      Delta.LowRank product = (Delta.LowRank) term.delta();
      float[] values = factors.left(product, start, start + count);
      for (int row = 0; row < count; row++) {
        for (int k = 0; k < product.rank(); k++) {
          window[row][at + k] = values[row * product.rank() + k];
        }
      }
      at += product.rank();
    }
  }
}
