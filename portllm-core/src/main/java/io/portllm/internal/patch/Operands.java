package io.portllm.internal.patch;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Merger;
import io.portllm.Tensor;
import io.portllm.internal.buffer.DirectBuffers;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * The operands of one chunk: reads what the terms of a change need for a run of elements. Close it to give the buffers back.
 */
final class Operands implements AutoCloseable {
  private final Factors factors;
  private final DirectBuffers buffers;
  private final List<ByteBuffer> lent = new ArrayList<>();
  private final List<Merger.Operand> operands = new ArrayList<>();

  Operands(Factors factors, DirectBuffers buffers) {
    this.factors = factors;
    this.buffers = buffers;
  }

  /** The bytes of the largest element that {@code delta} reads. */
  static int elementBytes(Delta delta) {
    int bytes = 1;
    for (Delta.Term term : Terms.of(delta)) {
      if (term.delta() instanceof Delta.Dense dense) {
        bytes = Math.max(bytes, dense.values().info().dtype().bytes());
      } else if (term.delta() instanceof Delta.Difference difference) {
        bytes = Math.max(bytes, difference.tuned().info().dtype().bytes());
        bytes = Math.max(bytes, difference.base().info().dtype().bytes());
      } else if (term.delta() instanceof Delta.Rows rows) {
        bytes = Math.max(bytes, rows.values().info().dtype().bytes());
        bytes = Math.max(bytes, rows.base().map(base -> base.info().dtype().bytes()).orElse(1));
      } else if (term.delta() instanceof Delta.Quantised || term.delta() instanceof Delta.Sparse || term.delta() instanceof Delta.Computed) {
        bytes = Math.max(bytes, 4);
      }
    }
    return bytes;
  }

  /**
   * Reads the operands of a run.
   *
   * @param weights the tensor of the new base
   * @param first the run's first element, counted from the start of the tensor
   * @param count the run's elements
   */
  List<Merger.Operand> read(Delta delta, Tensor weights, long first, int count) throws IOException {
    for (Delta.Term term : Terms.of(delta)) {
      Delta change = term.delta();
      // Where the new base has more rows than the change, the rest stay as they are.
      int covered = (int) Math.max(0, Math.min(count, change.shape().elements() - first));
      if (covered == 0) {
        continue;
      }
      if (change instanceof Delta.Dense dense) {
        operands.add(new Merger.Values(0, covered, term.factor(), dense.values().info().dtype(), elements(dense.values(), first, covered)));
      } else if (change instanceof Delta.Difference difference) {
        operands.add(difference(term.factor(), difference.tuned(), difference.base(), first, covered));
      } else if (change instanceof Delta.LowRank product) {
        operands.add(product(product, term.factor(), first, covered));
      } else if (change instanceof Delta.Rows rows) {
        rows(rows, term.factor(), first, count);
      } else if (change instanceof Delta.Quantised quantised) {
        operands.add(floats(covered, term.factor(), QuantisedValues.read(quantised, first, covered)));
      } else if (change instanceof Delta.Sparse sparse) {
        operands.add(floats(covered, term.factor(), SparseValues.read(sparse, first, covered)));
      } else if (change instanceof Delta.Computed computed) {
        operands.add(new Merger.Values(0, covered, term.factor(), DType.F32, compute(computed, weights, first, covered)));
      }
    }
    return operands;
  }

  private static Merger.Operand floats(int count, double factor, float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return new Merger.Values(0, count, factor, DType.F32, bytes);
  }

  private static ByteBuffer compute(Delta.Computed delta, Tensor weights, long first, int count) throws IOException {
    long columns = delta.change().rowLength();
    long fromRow = first / columns;
    long toRow = (first + count - 1) / columns + 1;
    float[] values = new float[Math.toIntExact((toRow - fromRow) * columns)];
    delta.change().compute(fromRow, toRow, delta.frozenOn().orElse(weights), values);
    ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values, (int) (first % columns), count);
    return bytes;
  }

  private Merger.Operand product(Delta.LowRank delta, double factor, long first, int count) throws IOException {
    long columns = delta.shape().columns();
    long fromRow = first / columns;
    long toRow = (first + count - 1) / columns + 1;
    return new Merger.LowRank(
        0,
        count,
        factor * delta.scale(),
        (int) (first % columns),
        Math.toIntExact(columns),
        delta.rank(),
        factors.left(delta, fromRow, toRow),
        factors.right(delta));
  }

  /** One operand for each row, but one buffer for all: rows may be many and short. */
  private void rows(Delta.Rows delta, double factor, long first, int count) throws IOException {
    long columns = delta.shape().columns();
    ImmutableLongArray indices = delta.indices();
    Packed values = null;
    Packed base = null;
    for (int i = 0; i < indices.length(); i++) {
      long rowStart = indices.get(i) * columns;
      long from = Math.max(first, rowStart);
      long to = Math.min(first + count, rowStart + columns);
      if (from >= to) {
        continue;
      }
      if (values == null) {
        values = new Packed(delta.values(), count);
        base = delta.base().isPresent() ? new Packed(delta.base().get(), count) : null;
      }
      int start = (int) (from - first);
      int length = (int) (to - from);
      ByteBuffer row = values.read(i * columns + from - rowStart, length);
      operands.add(
          base == null
              ? new Merger.Values(start, length, factor, values.type(), row)
              : new Merger.Difference(start, length, factor, values.type(), row, base.type(), base.read(from, length)));
    }
  }

  private Merger.Operand difference(double factor, Tensor tuned, Tensor base, long first, int count) throws IOException {
    return new Merger.Difference(
        0, count, factor, tuned.info().dtype(), elements(tuned, first, count), base.info().dtype(), elements(base, first, count));
  }

  private ByteBuffer elements(Tensor tensor, long first, int count) throws IOException {
    return new Packed(tensor, count).read(first, count);
  }

  /** Runs of one tensor, one after the other in a lent buffer. */
  private final class Packed {
    private final Tensor tensor;
    private final ByteBuffer buffer;

    /** Room for {@code count} elements in all. */
    Packed(Tensor tensor, int count) {
      this.tensor = tensor;
      this.buffer = buffers.lend(count * tensor.info().dtype().bytes());
      lent.add(buffer);
    }

    DType type() {
      return tensor.info().dtype();
    }

    ByteBuffer read(long first, int count) throws IOException {
      int size = type().bytes();
      ByteBuffer run = buffer.slice(buffer.position(), count * size).order(ByteOrder.LITTLE_ENDIAN);
      tensor.read(first * size, run);
      buffer.position(buffer.position() + count * size);
      return run.flip();
    }
  }

  @Override
  public void close() {
    lent.forEach(buffers::takeBack);
  }
}
