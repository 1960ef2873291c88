package io.portllm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class ShapeTest {
  @Test
  void aMatrixOfItsRowsAndAllElseIsSeenInAnyShape() {
    Shape shape = Shape.of(4, 3, 2);
    assertEquals(3, shape.rank());
    assertEquals(24, shape.elements());
    assertEquals(4, shape.rows());
    assertEquals(6, shape.columns());
    assertEquals(2, shape.dimension(2));
    assertEquals(1, Shape.of(7).columns());
  }

  @Test
  void aScalarHasOneElementOneRowAndOneColumn() {
    Shape scalar = Shape.of();
    assertEquals(0, scalar.rank());
    assertEquals(1, scalar.elements());
    assertEquals(1, scalar.rows());
    assertEquals(1, scalar.columns());
    assertEquals("[]", scalar.toString());
  }

  @Test
  void aDimensionOfZeroMakesNoElements() {
    assertEquals(0, Shape.of(0, 5).elements());
    assertEquals(0, Shape.of(5, 0).elements());
    assertEquals(5, Shape.of(0, 5).columns());
  }

  @Test
  void anotherNumberOfRowsKeepsTheOtherDimensions() {
    assertEquals(Shape.of(9, 3, 2), Shape.of(4, 3, 2).withRows(9));
    assertEquals(Shape.of(0), Shape.of(4).withRows(0));
  }

  @Test
  void negativeDimensionsAreRefused() {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Shape.of(2, -3));
    assertEquals("dimension must be >= 0 but was -3", e.getMessage());
  }

  @Test
  void moreElementsThanALongHoldsAreRefused() {
    assertEquals(Long.MAX_VALUE, Shape.of(Long.MAX_VALUE, 1).elements());
    assertThrows(ArithmeticException.class, () -> Shape.of(1L << 32, 1L << 31));
    // Multiplied from the left: a zero at the end comes too late.
    assertThrows(ArithmeticException.class, () -> Shape.of(1L << 32, 1L << 32, 0));
    assertEquals(0, Shape.of(0, 1L << 32, 1L << 32).elements());
  }

  @Test
  void itsArraysAreCopies() {
    long[] dimensions = {2, 3};
    Shape shape = Shape.of(dimensions);
    dimensions[0] = 99;
    shape.toArray()[1] = 99;
    assertArrayEquals(new long[] {2, 3}, shape.toArray());
  }

  @Test
  void shapesAreEqualWhereAllDimensionsAre() {
    assertEquals(Shape.of(2, 3), Shape.of(2, 3));
    assertEquals(Shape.of(2, 3).hashCode(), Shape.of(2, 3).hashCode());
    assertNotEquals(Shape.of(2, 3), Shape.of(3, 2));
    assertNotEquals(Shape.of(6), Shape.of(6, 1));
    assertNotEquals(Shape.of(), Shape.of(1));
  }

  @Test
  void onlyTheStartOfALongShapeIsPrinted() {
    assertEquals("[1, 2, 3, 4, 5, 6, 7, 8]", Shape.of(1, 2, 3, 4, 5, 6, 7, 8).toString());
    assertEquals("[1, 2, ... rank 9]", Shape.of(1, 2, 3, 4, 5, 6, 7, 8, 9).toString());
  }
}
