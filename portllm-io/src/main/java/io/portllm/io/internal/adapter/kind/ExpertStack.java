package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.Stacks;
import java.io.IOException;
import java.util.Arrays;

/** The change of a stack of matrices, one for each expert: {@code scale · B·A} of its factors, or the transpose. */
final class ExpertStack extends AdditiveChange implements Stacks.OfProducts {
  private final ExpertFactors factors;
  private final float scale;
  private final boolean transposed;
  private final Kept kept;
  private final int rowsOfOne;

  /**
   * The change by these factors.
   *
   * @param shape experts × out × in, or experts × in × out if {@code transposed}
   */
  ExpertStack(Shape shape, ExpertFactors factors, double scale, boolean transposed, Kept kept) {
    super(shape, factors.a(), factors.b());
    this.factors = factors;
    this.scale = (float) scale;
    this.transposed = transposed;
    this.kept = kept;
    this.rowsOfOne = Math.toIntExact(shape.dimension(1));
  }

  @Override
  public Delta.LowRank product(int expert) {
    return LowRank.of(factors.b(expert, 0, factors.out()), factors.a(expert, 0, factors.in()), scale, transposed);
  }

  /** One row of one matrix. */
  @Override
  public long rowLength() {
    return shape().dimension(2);
  }

  @Override
  void compute(long fromRow, int rows, float[] target) throws IOException {
    int columns = columns();
    int rank = factors.rank();
    Arrays.fill(target, 0, rows * columns, 0);
    int done = 0;
    while (done < rows) {
      int expert = (int) ((fromRow + done) / rowsOfOne);
      int first = (int) ((fromRow + done) % rowsOfOne);
      int count = Math.min(rows - done, rowsOfOne - first);
      float[] right = kept.floats(this, expert, () -> right(expert));
      float[] left = left(expert, first, count);
      for (int row = 0; row < count; row++) {
        int at = (done + row) * columns;
        for (int k = 0; k < rank; k++) {
          float factor = left[row * rank + k] * scale;
          for (int i = 0, from = k * columns; i < columns; i++, from++) {
            target[at + i] += factor * right[from];
          }
        }
      }
      done += count;
    }
  }

  /** rank × columns. */
  private float[] right(int expert) throws IOException {
    return transposed ? turned(Numbers.all(factors.b(expert, 0, factors.out())), factors.rank()) : Numbers.all(factors.a(expert, 0,
        factors.in()));
  }

  /** rows × rank. */
  private float[] left(int expert, int first, int count) throws IOException {
    Tensor part = transposed ? factors.a(expert, first, first + count) : factors.b(expert, first, first + count);
    return transposed ? turned(Numbers.all(part), count) : Numbers.all(part);
  }

  private static float[] turned(float[] matrix, int columns) {
    int rows = matrix.length / columns;
    float[] turned = new float[matrix.length];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        turned[column * rows + row] = matrix[row * columns + column];
      }
    }
    return turned;
  }
}
