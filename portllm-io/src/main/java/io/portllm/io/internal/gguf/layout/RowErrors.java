package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.run.Parallel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Compares two tensors row by row. Sums are in float64, first to last. */
final class RowErrors implements Parallel.Task {
  private static final int RUN = 1 << 16;

  private final String name;
  private final Tensor expected;
  private final Tensor found;
  private final ErrorBound bound;
  private final long width;
  private double worst;
  private double error;
  private double norm;
  private long inRow;

  /**
   * A comparison.
   *
   * @param expected at least as long as {@code found}; what is beyond counts for nothing
   */
  RowErrors(String name, Tensor expected, Tensor found, ErrorBound bound) {
    this.name = name;
    this.expected = expected;
    this.found = found;
    this.bound = bound;
    Shape shape = found.info().shape();
    this.width = shape.rank() == 0 ? 1 : shape.dimension(shape.rank() - 1);
  }

  @Override
  public void run() throws IOException {
    long elements = found.info().elements();
    float[] left = new float[RUN];
    float[] right = new float[RUN];
    int[] scratch = new int[RUN];
    ByteBuffer bytes = ByteBuffer.allocateDirect(8 * RUN).order(ByteOrder.LITTLE_ENDIAN);
    for (long at = 0; at < elements; at += RUN) {
      int count = (int) Math.min(RUN, elements - at);
      read(expected, at, count, left, bytes, scratch);
      read(found, at, count, right, bytes, scratch);
      for (int i = 0; i < count; i++) {
        add(left[i], right[i]);
      }
    }
  }

  private static void read(Tensor tensor, long at, int count, float[] values, ByteBuffer bytes, int[] scratch) throws IOException {
    int size = tensor.info().dtype().bytes();
    bytes.clear().limit(count * size);
    tensor.read(at * size, bytes);
    Floats.read(tensor.info().dtype(), bytes, 0, values, count, scratch);
  }

  private void add(float left, float right) {
    if (Float.compare(left, right) != 0 && left != right) {
      double difference = (double) left - right;
      error += difference * difference;
    }
    norm += (double) left * left;
    if (++inRow == width) {
      endRow();
    }
  }

  private void endRow() {
    double beyond = Math.sqrt(error) - bound.absolute() * Math.sqrt(width);
    if (!(beyond <= 0)) {
      double relative = beyond / Math.sqrt(norm);
      worst = Math.max(worst, relative == relative ? relative : Double.POSITIVE_INFINITY);
    }
    error = 0;
    norm = 0;
    inRow = 0;
  }

  /** What was found, once it ran. */
  LayoutProof.Compared result() {
    return new LayoutProof.Compared(name, worst, bound.relative());
  }
}
