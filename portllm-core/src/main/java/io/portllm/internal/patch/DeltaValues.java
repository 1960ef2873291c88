package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Merger;
import io.portllm.Mismatch;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.kernel.Changes;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * The values of an additive change that depends on no weights, in float32 as {@link Merger} defines them. Safe for use by many threads.
 */
public final class DeltaValues {
  /** Elements read at a time. */
  private static final int RUN = 1 << 16;

  /** Elements whose values stay in the first-level cache. */
  private static final int BLOCK = 1024;

  private final String tensor;
  private final Delta delta;
  private final Shared shared;

  /** What the changes of one patch share: factors in use, and buffers. */
  public static final class Shared {
    private final Factors factors = new Factors();
    private final DirectBuffers buffers = new DirectBuffers(RUN * 8);
  }

  /**
   * The values of {@code delta}.
   *
   * @param tensor the tensor's name, for messages
   * @throws IllegalStateException if the change replaces weights or depends on those of the new base
   */
  public DeltaValues(String tensor, Delta delta, Shared shared) {
    this.tensor = tensor;
    this.delta = delta;
    this.shared = shared;
    if (!delta.isAdditive()) {
      throw new IllegalStateException(
          "tensor " + Names.quote(tensor) + " is replaced by the patch, which leaves no change to work on; "
              + "extract the patch against its base to get a difference");
    }
    for (Delta.Term term : Terms.of(delta)) {
      if (term.delta() instanceof Delta.Computed computed && computed.change().dependsOnWeights() && computed.frozenOn().isEmpty()) {
        throw new IllegalStateException(
            "the change of tensor " + Names.quote(tensor) + " depends on the weights of the new base, so there is none to work on yet; "
                + "freeze it on its base");
      }
    }
  }

  /** The tensors that are read. */
  public List<Tensor> inputs() {
    return DeltaTensors.of(delta);
  }

  /**
   * Reads changes; past the end of the change they are zero.
   *
   * @param first the first element, counted from the start of the tensor
   * @param target receives {@code count} values from index 0
   * @throws IncompatibleModelException if a change is infinite or NaN
   */
  public void read(long first, int count, float[] target) throws IOException {
    for (int done = 0; done < count; done += RUN) {
      int length = Math.min(RUN, count - done);
      requireFinite(run(first + done, length, target, done), first + done, length);
    }
  }

  /**
   * Reads changes as {@link #read} does, infinite and NaN ones too.
   *
   * @return how many are infinite or NaN
   */
  public long readCounting(long first, int count, float[] target) throws IOException {
    long nonFinite = 0;
    for (int done = 0; done < count; done += RUN) {
      nonFinite += run(first + done, Math.min(RUN, count - done), target, done);
    }
    return nonFinite;
  }

  /** Reads changes as {@link #read} does, whatever they are. */
  public void readAny(long first, int count, float[] target) throws IOException {
    for (int done = 0; done < count; done += RUN) {
      evaluate(first + done, Math.min(RUN, count - done), target, done);
    }
  }

  /** Reads one run; returns how many changes are infinite or NaN. */
  private long run(long first, int count, float[] target, int at) throws IOException {
    int covered = (int) Math.max(0, Math.min(count, delta.shape().elements() - first));
    if (delta instanceof Delta.Difference difference && covered == count) {
      return subtract(difference, first, count, target, at);
    }
    evaluate(first, count, target, at);
    long infinite = 0;
    for (int i = at; i < at + count; i++) {
      infinite += Float.isFinite(target[i]) ? 0 : 1;
    }
    return infinite;
  }

  /** What {@link #evaluate} gives, without buffers in between: most changes are differences. */
  private long subtract(Delta.Difference difference, long first, int count, float[] target, int at) throws IOException {
    TensorInfo tuned = difference.tuned().info();
    TensorInfo base = difference.base().info();
    ByteBuffer tunedBytes = shared.buffers.lend(count * tuned.dtype().bytes());
    ByteBuffer baseBytes = shared.buffers.lend(count * base.dtype().bytes());
    try {
      difference.tuned().read(first * tuned.dtype().bytes(), tunedBytes);
      difference.base().read(first * base.dtype().bytes(), baseBytes);
      float[] values = new float[BLOCK];
      float[] other = new float[BLOCK];
      int[] scratch = new int[BLOCK];
      int infinite = 0;
      for (int start = 0; start < count; start += BLOCK) {
        int length = Math.min(BLOCK, count - start);
        Floats.readDifference(tuned.dtype(), tunedBytes, base.dtype(), baseBytes, start, values, other, length, scratch);
        for (int i = 0; i < length; i++) {
          infinite += Float.isFinite(values[i]) ? 0 : 1;
        }
        System.arraycopy(values, 0, target, at + start, length);
      }
      return infinite;
    } finally {
      shared.buffers.takeBack(tunedBytes);
      shared.buffers.takeBack(baseBytes);
    }
  }

  private void evaluate(long first, int count, float[] target, int at) throws IOException {
    try (Operands operands = new Operands(shared.factors, shared.buffers)) {
      Changes.evaluate(operands.read(delta, null, first, count), count, target, at);
    }
  }

  private void requireFinite(long infinite, long first, int count) {
    if (infinite > 0) {
      throw new IncompatibleModelException(
          "the patches cannot be combined",
          List.of(Mismatch.of(tensor, infinite + " changes are infinite or NaN among elements " + first + " to " + (first + count - 1))));
    }
  }
}
