package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.Delta.Sum;
import io.portllm.Delta.Term;
import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.util.List;

/** The algebra of additive changes: a change is a list of terms. */
public final class Terms {
  private Terms() {}

  /** The terms that {@code delta} is the sum of. */
  public static List<Term> of(Delta delta) {
    return delta instanceof Sum sum ? sum.terms() : List.of(new Term(1, delta));
  }

  /** Whether {@code delta} changes single rows, and so need not know how many rows the tensor has. */
  static boolean areRows(Delta delta) {
    return delta.isAdditive() && of(delta).stream().allMatch(term -> term.delta() instanceof Delta.Rows);
  }

  /** {@code delta} times {@code scale}. */
  public static Delta scale(String tensor, Delta delta, double scale) {
    if (delta instanceof Delta.Unchanged) {
      return delta;
    }
    requireAdditive(tensor, delta, "scaled");
    return new Sum(
        of(delta).stream().map(term -> new Term(term.factor() * scale, term.delta())).collect(ImmutableList.toImmutableList()));
  }

  /** {@code mine} and then {@code theirs}. */
  public static Delta add(String tensor, Delta mine, Delta theirs) {
    if (mine instanceof Delta.Unchanged) {
      return theirs;
    }
    if (theirs instanceof Delta.Unchanged) {
      return mine;
    }
    requireAdditive(tensor, mine, "added to");
    requireAdditive(tensor, theirs, "added to");
    if (!areOfOneTensor(mine, theirs)) {
      throw new IllegalArgumentException("tensor " + Names.quote(tensor) + " is " + mine.shape() + " in one patch and " + theirs.shape() + " in the other");
    }
    return new Sum(ImmutableList.<Term>builder().addAll(of(mine)).addAll(of(theirs)).build());
  }

  private static boolean areOfOneTensor(Delta mine, Delta theirs) {
    Shape one = mine.shape();
    Shape other = theirs.shape();
    if (!areRows(mine) && !areRows(theirs)) {
      return one.equals(other);
    }
    return one.columns() == other.columns()
        && (areRows(mine) || other.rows() <= one.rows())
        && (areRows(theirs) || one.rows() <= other.rows());
  }

  private static void requireAdditive(String tensor, Delta delta, String what) {
    if (delta instanceof Delta.Exact) {
      throw new IllegalStateException(
          "tensor " + Names.quote(tensor) + " is changed bit by bit by an exact patch, which cannot be " + what
              + "; extract a patch that is not exact, or take this one back with its inverse");
    }
    if (!delta.isAdditive()) {
      throw new IllegalStateException(
          "tensor " + Names.quote(tensor) + " is replaced by the patch, which cannot be " + what + "; extract the patch against its base to get a difference");
    }
  }
}
