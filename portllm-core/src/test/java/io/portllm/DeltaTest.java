package io.portllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.testing.MemoryModel;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class DeltaTest {
  @Test
  void addedChangesMustBeOfAFloatingType() {
    Tensor integers = integers(Shape.of(2, 2));
    Tensor floats = floats(2, 2);
    String message = "type must be a floating one but was I32";
    refused(message, () -> new Delta.Dense(integers));
    refused(message, () -> new Delta.Difference(integers, floats));
    refused(message, () -> new Delta.Difference(floats, integers));
    refused(message, () -> new Delta.LowRank(integers, floats, 1, false, Shape.of(2, 2)));
    refused(message, () -> new Delta.LowRank(floats, integers, 1, false, Shape.of(2, 2)));
    refused(message, () -> new Delta.Rows(rows(0, 1), integers, Optional.empty(), Shape.of(2, 2)));
    refused(message, () -> new Delta.Rows(rows(0, 1), floats, Optional.of(integers), Shape.of(2, 2)));
    refused(message, () -> new Delta.RowReplacement(rows(0, 1), integers, Shape.of(2, 2)));
  }

  @Test
  void differencesMayDifferInRowsAlone() {
    assertEquals(Shape.of(3, 2), new Delta.Difference(floats(5, 2), floats(3, 2)).shape());
    assertEquals(Shape.of(3, 2), new Delta.Difference(floats(3, 2), floats(5, 2)).shape());
    refused("shapes must agree but for the rows, but were [2, 3] and [3, 2]", () -> new Delta.Difference(floats(2, 3), floats(3, 2)));
    refused(
        "shapes must agree but for the rows, but were [2, 2, 3] and [2, 6]",
        () -> new Delta.Difference(floats(2, 2, 3), floats(2, 6)));
    refused("shapes must agree but for the rows, but were [] and [1]", () -> new Delta.Difference(floats(), floats(1)));
    assertEquals(Shape.of(), new Delta.Difference(floats(), floats()).shape());
  }

  @Test
  void factorsMustMakeTheShape() {
    Delta.LowRank plain = new Delta.LowRank(floats(4, 2), floats(2, 3), 0.5, false, Shape.of(4, 3));
    assertEquals(2, plain.rank());
    assertEquals(Shape.of(3, 4), new Delta.LowRank(floats(4, 2), floats(2, 3), 0.5, true, Shape.of(3, 4)).shape());
    assertEquals(4, new Delta.LowRank(floats(4, 2, 1, 1), floats(2, 3, 5, 5), 1, false, Shape.of(4, 3, 5, 5)).shape().rank());
    refused(
        "B must have as many columns as A has rows, but they are [4, 2] and [3, 3]",
        () -> new Delta.LowRank(floats(4, 2), floats(3, 3), 1, false, Shape.of(4, 3)));
    refused("factors of 4 x 3 do not make [3, 4]", () -> new Delta.LowRank(floats(4, 2), floats(2, 3), 1, false, Shape.of(3, 4)));
    refused(
        "factors of 4 x 3, transposed, do not make [4, 3]",
        () -> new Delta.LowRank(floats(4, 2), floats(2, 3), 1, true, Shape.of(4, 3)));
    refused("scale must be finite but was NaN", () -> new Delta.LowRank(floats(4, 2), floats(2, 3), Double.NaN, false, Shape.of(4, 3)));
  }

  @Test
  void rowIndicesMustLieWithinTheShapeAndOccurOnce() {
    Shape shape = Shape.of(9, 2);
    assertEquals(shape, new Delta.Rows(rows(8, 0, 3), floats(3, 2), Optional.empty(), shape).shape());
    refused(
        "row indices must lie within 0 to 8 but number 1 is 9",
        () -> new Delta.Rows(rows(0, 9), floats(2, 2), Optional.empty(), shape));
    refused("row indices must lie within 0 to 8 but number 0 is -1", () -> new Delta.RowReplacement(rows(-1, 2), floats(2, 2), shape));
    refused(
        "row indices must occur once but 4 occurs again as number 2",
        () -> new Delta.Rows(rows(4, 0, 4), floats(3, 2), Optional.empty(), shape));
    refused("2 rows of [9, 2] do not have the shape [3, 2]", () -> new Delta.RowReplacement(rows(1, 2), floats(3, 2), shape));
    refused("2 rows of [9, 2] do not have the shape [2, 3]", () -> new Delta.RowReplacement(rows(1, 2), floats(2, 3), shape));
  }

  @Test
  void rowsAreSubtractedFromABaseThatHasThem() {
    refused(
        "the base of rows up to number 8 of 2 columns must have them but is [8, 2]",
        () -> new Delta.Rows(rows(8), floats(1, 2), Optional.of(floats(8, 2)), Shape.of(9, 2)));
    refused(
        "the base of rows up to number 8 of 2 columns must have them but is [9, 3]",
        () -> new Delta.Rows(rows(8), floats(1, 2), Optional.of(floats(9, 3)), Shape.of(9, 2)));
    assertEquals(2, new Delta.Rows(rows(8), floats(1, 2), Optional.of(floats(9, 2)), Shape.of(20, 2)).shape().columns());
  }

  @Test
  void sumsHoldChangesOfAsManyColumns() {
    Delta dense = new Delta.Dense(floats(4, 2));
    Delta rows = new Delta.Rows(rows(1), floats(1, 2), Optional.empty(), Shape.of(3, 2));
    assertEquals(Shape.of(4, 2), sum(rows, dense).shape());
    assertEquals(Shape.of(4, 2), sum(dense, rows).shape());
    Delta moreRows = new Delta.Rows(rows(5), floats(1, 2), Optional.empty(), Shape.of(6, 2));
    assertEquals(Shape.of(6, 2), sum(rows, moreRows).shape());
    refused("terms must change one tensor but change [4, 2] and [2, 4]", () -> sum(dense, new Delta.Dense(floats(2, 4))));
    refused("terms must change one tensor but change [4, 2] and [8]", () -> sum(dense, new Delta.Dense(floats(8))));
    Delta otherColumns = new Delta.Rows(rows(1), floats(1, 3), Optional.empty(), Shape.of(2, 3));
    refused("terms must change one tensor but change [4, 2] and [2, 3]", () -> sum(dense, otherColumns));
    refused("terms must change one tensor but change [3, 2] and [2, 3]", () -> sum(rows, otherColumns));
    refused("a sum must have at least one term", () -> new Delta.Sum(List.of()));
  }

  @Test
  void termsAreAdditiveAndFinite() {
    Delta dense = new Delta.Dense(floats(4, 2));
    assertThrows(IllegalArgumentException.class, () -> new Delta.Term(1, new Delta.Replacement(floats(4, 2))));
    assertThrows(IllegalArgumentException.class, () -> new Delta.Term(1, sum(dense)));
    refused("factor must be finite but was Infinity", () -> new Delta.Term(Double.POSITIVE_INFINITY, dense));
    refused("factor must be finite but was NaN", () -> new Delta.Term(Double.NaN, dense));
  }

  @Test
  void onlyWhatCannotBeAddedIsDemandedUnchanged() {
    refused("types must be one that cannot be added but were F32 and F32", () -> new Delta.Unchanged(floats(2), floats(2)));
    refused("types must be one that cannot be added but were F32 and I32", () -> new Delta.Unchanged(floats(2), integers(Shape.of(2))));
  }

  @Test
  void replacementsAndDemandsAreNotAdditive() {
    assertFalse(new Delta.Replacement(floats(2)).isAdditive());
    assertFalse(new Delta.RowReplacement(rows(0), floats(1, 2), Shape.of(1, 2)).isAdditive());
    assertFalse(new Delta.Unchanged(integers(Shape.of(2)), integers(Shape.of(2))).isAdditive());
    assertTrue(new Delta.Dense(floats(2)).isAdditive());
    assertTrue(sum(new Delta.Dense(floats(2))).isAdditive());
  }

  private static void refused(String message, Runnable creation) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, creation::run).getMessage());
  }

  private static Delta.Sum sum(Delta... deltas) {
    return new Delta.Sum(List.of(deltas).stream().map(delta -> new Delta.Term(1, delta)).toList());
  }

  private static ImmutableLongArray rows(long... indices) {
    return ImmutableLongArray.copyOf(indices);
  }

  private static Tensor floats(long... dimensions) {
    return MemoryModel.random(DType.F32, Shape.of(dimensions), 1, 1);
  }

  private static Tensor integers(Shape shape) {
    return MemoryModel.named("integers")
        .raw("t", DType.I32, shape, new byte[(int) shape.elements() * 4])
        .build()
        .tensor("t")
        .orElseThrow();
  }
}
