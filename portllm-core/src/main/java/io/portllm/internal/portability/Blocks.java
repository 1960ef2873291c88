package io.portllm.internal.portability;

import io.portllm.Shape;

/**
 * How a tensor is cut into blocks of whole rows. What is no matrix is cut into runs of which each is a row of a block by itself.
 *
 * @param rows the rows of a block
 * @param columns the elements of a row
 */
record Blocks(int rows, int columns) {
  /** Elements of a block, unless four rows have more. */
  static final int ELEMENTS = 1 << 14;

  /** The blocks of a tensor of this shape. */
  static Blocks of(Shape shape) {
    if (!Sketches.isMatrix(shape)) {
      return new Blocks(1, (int) Math.max(1, Math.min(ELEMENTS, shape.elements())));
    }
    int columns = (int) shape.columns();
    return new Blocks((int) Math.min(shape.rows(), Math.max(ColumnSums.ROWS, ELEMENTS / columns)), columns);
  }

  /** Elements of a block. */
  int step() {
    return rows * columns;
  }

  /** Room for one block. */
  Elements elements() {
    return new Elements(rows, columns);
  }
}
