package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Merger;
import io.portllm.Tensor;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** The values of an additive change as float32, evaluated as {@link Merger} defines them. Safe for use by many threads. */
public final class FloatChanges implements FloatSource {
  private static final int RUN = 1 << 16;

  private final Delta delta;
  private final Memory memory;

  /** Buffers and factors that the changes of one patch share. */
  public static final class Memory {
    private final Factors factors = new Factors();
    private final DirectBuffers buffers = new DirectBuffers(8 * RUN);
  }

  /**
   * The values of {@code delta}, an additive change.
   *
   * @throws IllegalStateException if it depends on the weights of the new base
   */
  public FloatChanges(String tensor, Delta delta, Memory memory) {
    this.delta = delta;
    this.memory = memory;
    for (Delta.Term term : Terms.of(delta)) {
      if (term.delta() instanceof Delta.Computed computed && computed.change().dependsOnWeights() && computed.frozenOn().isEmpty()) {
        throw new IllegalStateException(
            "the change of tensor " + Names.quote(tensor) + " depends on the weights of the new base, so it cannot be compressed; freeze it on its base");
      }
    }
  }

  /** The tensors that are read. */
  public List<Tensor> inputs() {
    return DeltaTensors.of(delta);
  }

  @Override
  public void read(long first, float[] target, int at, int count) throws IOException {
    int done = 0;
    while (done < count) {
      int run = Math.min(RUN, count - done);
      ByteBuffer bytes = memory.buffers.lend(4 * run);
      try (Operands operands = new Operands(memory.factors, memory.buffers)) {
        for (int i = 0; i < run; i++) {
          bytes.putInt(4 * i, 0);
        }
        // Added to weights of zero, a change stays as it is.
        Merger.scalar().merge(new Merger.Chunk(DType.F32, bytes, run), operands.read(delta, null, first + done, run));
        bytes.asFloatBuffer().get(0, target, at + done, run);
      } finally {
        memory.buffers.takeBack(bytes);
      }
      done += run;
    }
  }
}
