package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Merger;
import io.portllm.Shape;
import io.portllm.internal.buffer.DirectBuffers;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Additive changes that need no weights, as float32 rows: exactly what the merger adds to weights of zero. Not safe for use by many
 * threads.
 */
public final class RowEvaluator {
  private static final int RUN_BYTES = 512 << 10;

  private final Delta delta;
  private final Shape shape;
  private final int step;
  private final Factors factors = new Factors();
  private final DirectBuffers buffers = new DirectBuffers(RUN_BYTES);
  private final ByteBuffer run = ByteBuffer.allocate(RUN_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** Evaluates {@code delta}, which {@link #isEvaluable}. */
  public RowEvaluator(Delta delta) {
    if (!isEvaluable(delta)) {
      throw new IllegalArgumentException("change must be additive and need no weights but was " + delta);
    }
    this.delta = delta;
    this.shape = delta.shape();
    this.step = RUN_BYTES / Math.max(4, Operands.elementBytes(delta));
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
    long first = fromRow * shape.columns();
    int count = Math.toIntExact(rows * shape.columns());
    long nonFinite = 0;
    for (int done = 0; done < count; ) {
      int length = Math.min(step, count - done);
      nonFinite += read(first + done, length, target, done);
      done += length;
    }
    return nonFinite;
  }

  private long read(long first, int count, float[] target, int at) throws IOException {
    run.clear().limit(4 * count);
    for (int i = 0; i < count; i++) {
      run.putInt(4 * i, 0);
    }
    try (Operands operands = new Operands(factors, buffers)) {
      long nonFinite =
          Merger.scalar().merge(new Merger.Chunk(DType.F32, run, count), operands.read(delta, null, first, count)).nonFinite();
      run.asFloatBuffer().get(target, at, count);
      return nonFinite;
    }
  }
}
