package io.portllm.io.internal.patchfile;

import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Neighbouring elements of another tensor, as a tensor of their own. */
final class TensorSlice extends OneTensor {
  private final Tensor source;
  private final long start;

  private TensorSlice(Tensor source, long start, Shape shape) {
    super(new TensorInfo(source.info().name(), source.info().dtype(), shape));
    this.source = source;
    this.start = start;
  }

  /** The elements of {@code source} from number {@code first} on, which it has. */
  static Tensor of(Tensor source, long first, Shape shape) {
    return new TensorSlice(source, Math.multiplyExact(first, (long) source.info().dtype().bytes()), shape).tensor();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    source.read(start + offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    source.version().verifyUnchanged();
  }
}
