package io.portllm;

import java.util.Arrays;

/**
 * The dimensions of a tensor, outermost first (C order). Immutable. A shape of rank 0 has one element.
 */
public final class Shape {
  private final long[] dimensions;
  private final long elements;

  private Shape(long[] dimensions, long elements) {
    this.dimensions = dimensions;
    this.elements = elements;
  }

  /**
   * The shape of these dimensions.
   *
   * @throws IllegalArgumentException if a dimension is negative
   * @throws ArithmeticException if the number of elements, multiplied from the left, does not fit a long
   */
  public static Shape of(long... dimensions) {
    long elements = 1;
    for (long dimension : dimensions) {
      if (dimension < 0) {
        throw new IllegalArgumentException("dimension must be >= 0 but was " + dimension);
      }
      elements = Math.multiplyExact(elements, dimension);
    }
    return new Shape(dimensions.clone(), elements);
  }

  /** The number of dimensions. */
  public int rank() {
    return dimensions.length;
  }

  /** The size of dimension {@code index}, counted from 0, outermost first. */
  public long dimension(int index) {
    return dimensions[index];
  }

  /** The product of all dimensions. */
  public long elements() {
    return elements;
  }

  /** The first dimension, or 1 for rank 0: the rows of the tensor seen as a matrix. */
  public long rows() {
    return dimensions.length == 0 ? 1 : dimensions[0];
  }

  /** The product of all dimensions but the first: the columns of the tensor seen as a matrix. */
  public long columns() {
    long columns = 1;
    for (int i = 1; i < dimensions.length; i++) {
      columns *= dimensions[i];
    }
    return columns;
  }

  /** This shape with another first dimension. */
  public Shape withRows(long rows) {
    long[] changed = dimensions.clone();
    changed[0] = rows;
    return of(changed);
  }

  /** The dimensions as a new array. */
  public long[] toArray() {
    return dimensions.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dimensions, shape.dimensions);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dimensions);
  }

  /** The dimensions as {@code [32000, 4096]}; past eight, only the first and the rank. */
  @Override
  public String toString() {
    return dimensions.length <= 8
        ? Arrays.toString(dimensions)
        : "[" + dimensions[0] + ", " + dimensions[1] + ", ... rank " + dimensions.length + "]";
  }
}
