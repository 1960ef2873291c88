package io.portllm.internal.portability;

/**
 * A count sketch of columns (Charikar, Chen and Farach-Colton, 2002): every column goes to one of some buckets with a random sign.
 * Columns are listed by bucket, and those of a bucket added before those subtracted, four rows at a time. Immutable.
 */
final class ColumnSums {
  /** Rows that are sketched together. */
  static final int ROWS = 4;

  private final int buckets;
  private final int[] columns;
  /** Where in the list the added columns of bucket k begin, at 2k, and the subtracted ones, at 2k + 1. */
  private final int[] starts;

  /** The sketch of a number of columns to a number of buckets, with the random numbers of one role. */
  ColumnSums(long role, int columns, int buckets) {
    this.buckets = buckets;
    this.columns = new int[columns];
    this.starts = new int[2 * buckets + 1];
    for (int pass = 0; pass < 2; pass++) {
      int[] next = starts.clone();
      for (int column = 0; column < columns; column++) {
        long bits = Hashes.bits(role, column);
        int list = 2 * Hashes.bucket(bits, buckets) + (Hashes.sign(bits) > 0 ? 0 : 1);
        if (pass == 0) {
          starts[list + 1]++;
        } else {
          this.columns[next[list]++] = column;
        }
      }
      for (int list = 0; pass == 0 && list < 2 * buckets; list++) {
        starts[list + 1] += starts[list];
      }
    }
  }

  /** The sketch of row {@code from} and the three after it; rows past {@code to} are not touched, and their sketches have no meaning. */
  void of(double[][] rows, int from, int to, double[][] sketches) {
    double[] row0 = rows[from];
    double[] row1 = rows[Math.min(from + 1, to - 1)];
    double[] row2 = rows[Math.min(from + 2, to - 1)];
    double[] row3 = rows[Math.min(from + 3, to - 1)];
    for (int k = 0; k < buckets; k++) {
      double sum0 = 0;
      double sum1 = 0;
      double sum2 = 0;
      double sum3 = 0;
      for (int i = starts[2 * k]; i < starts[2 * k + 1]; i++) {
        int column = columns[i];
        sum0 += row0[column];
        sum1 += row1[column];
        sum2 += row2[column];
        sum3 += row3[column];
      }
      for (int i = starts[2 * k + 1]; i < starts[2 * k + 2]; i++) {
        int column = columns[i];
        sum0 -= row0[column];
        sum1 -= row1[column];
        sum2 -= row2[column];
        sum3 -= row3[column];
      }
      sketches[0][k] = sum0;
      sketches[1][k] = sum1;
      sketches[2][k] = sum2;
      sketches[3][k] = sum3;
    }
  }
}
