package io.portllm.internal.portability;

/** A count sketch of rows: every row is added to one of some sums with a random sign. For one thread. */
final class RowSums {
  private final long role;
  private final int columns;
  private final double[][] sums;

  /** Sums to a number of rows, with the random numbers of one role. */
  RowSums(long role, int columns, int buckets) {
    this.role = role;
    this.columns = columns;
    this.sums = new double[buckets][columns];
  }

  /** Adds row {@code number}. */
  void add(long number, double[] row) {
    long bits = Hashes.bits(role, number);
    add(sums[Hashes.bucket(bits, sums.length)], row, Hashes.sign(bits), columns);
  }

  private static void add(double[] sums, double[] row, double sign, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += sign * row[i];
    }
  }

  /** The sums, a row for each bucket. */
  double[][] sums() {
    return sums;
  }

  /** Products of all sums with all of {@code others}, a multiple of four rows, row-major. */
  double[] times(double[][] others) {
    double[] products = new double[sums.length * others.length];
    for (int k = 0; k < sums.length; k++) {
      for (int j = 0; j < others.length; j += 4) {
        products(sums[k], others, j, columns, products, k * others.length + j);
      }
    }
    return products;
  }

  private static void products(double[] row, double[][] others, int from, int count, double[] products, int at) {
    double[] other0 = others[from];
    double[] other1 = others[from + 1];
    double[] other2 = others[from + 2];
    double[] other3 = others[from + 3];
    double sum0 = 0;
    double sum1 = 0;
    double sum2 = 0;
    double sum3 = 0;
    for (int i = 0; i < count; i++) {
      sum0 += row[i] * other0[i];
      sum1 += row[i] * other1[i];
      sum2 += row[i] * other2[i];
      sum3 += row[i] * other3[i];
    }
    products[at] = sum0;
    products[at + 1] = sum1;
    products[at + 2] = sum2;
    products[at + 3] = sum3;
  }
}
