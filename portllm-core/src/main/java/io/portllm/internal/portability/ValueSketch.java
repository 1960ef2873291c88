package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.WIDTH;

/** The sketch of a change from its values. */
final class ValueSketch extends ChangeSketch {
  private final ColumnSums columnSums;
  private final RowSums rowSums;

  ValueSketch(int columns) {
    super(columns);
    this.columnSums = new ColumnSums(Hashes.CHANGE_COLUMNS, columns, WIDTH);
    this.rowSums = new RowSums(Hashes.CHANGE_ROWS, columns, WIDTH);
  }

  @Override
  boolean needsValues() {
    return true;
  }

  @Override
  void add(long number, double[][] rows, int from, int to) {
    for (int row = from; row < to; row++) {
      rowSums.add(number + row - from, rows[row]);
    }
    columnSums.of(rows, from, to, last);
  }

  @Override
  double[][] reducedRows() {
    return rowSums.sums();
  }
}
