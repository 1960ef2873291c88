package io.portllm.internal.patch;

import io.portllm.Delta;
import io.portllm.Shape;
import java.io.IOException;

/** Additive changes that need no weights, as float32 rows of a matrix. */
public final class RowEvaluator {
  private final Shape shape;
  private final long start;
  private final DeltaValues values;

  /** Evaluates {@code delta}, which {@link #isEvaluable}. */
  public RowEvaluator(Delta delta) {
    this(delta, delta.shape(), 0);
  }

  private RowEvaluator(Delta delta, Shape shape, long start) {
    if (!isEvaluable(delta)) {
      throw new IllegalArgumentException("change must be additive and need no weights but was " + delta);
    }
    this.shape = shape;
    this.start = start;
    this.values = new DeltaValues("", delta, new DeltaValues.Shared());
  }

  /** Evaluates one matrix of a change of a {@link Stacks stack}. */
  public static RowEvaluator ofMatrix(Delta stack, int number) {
    Shape matrix = Stacks.matrix(stack.shape());
    return new RowEvaluator(stack, matrix, number * matrix.elements());
  }

  /** Whether the values of {@code delta} can be computed without the weights that it is put on. */
  public static boolean isEvaluable(Delta delta) {
    return delta.isAdditive()
        && Terms.of(delta).stream()
            .noneMatch(term -> term.delta() instanceof Delta.Computed computed && computed.change().dependsOnWeights() && computed.frozenOn().isEmpty());
  }

  /** The shape of the change. */
  public Shape shape() {
    return shape;
  }

  /**
   * Reads rows of the change, seen as a matrix of {@link Shape#rows} × {@link Shape#columns}.
   *
   * @param fromRow the first row
   * @param rows how many
   * @param target receives rows × columns values, row-major, from index 0
   * @return how many of them are NaN or infinite
   */
  public long read(long fromRow, int rows, float[] target) throws IOException {
    return values.readCounting(start + fromRow * shape.columns(), Math.toIntExact(rows * shape.columns()), target);
  }
}
