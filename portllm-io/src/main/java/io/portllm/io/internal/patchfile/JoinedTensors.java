package io.portllm.io.internal.patchfile;

import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** The elements of several tensors of one type in a list. */
final class JoinedTensors extends OneTensor {
  private final ImmutableList<Tensor> parts;
  /** Where each part begins, in bytes, and where the last ends. */
  private final long[] starts;

  private JoinedTensors(TensorInfo info, List<Tensor> parts) {
    super(info);
    this.parts = ImmutableList.copyOf(parts);
    this.starts = new long[parts.size() + 1];
    for (int i = 0; i < parts.size(); i++) {
      starts[i + 1] = starts[i] + parts.get(i).info().bytes();
    }
  }

  /** The list of the elements of {@code parts}, at least one. */
  static Tensor of(String name, List<Tensor> parts) {
    DType type = parts.get(0).info().dtype();
    if (parts.stream().anyMatch(part -> part.info().dtype() != type)) {
      throw new IllegalArgumentException("the parts of " + name + " must be of one type");
    }
    long elements = parts.stream().mapToLong(part -> part.info().elements()).reduce(0, Math::addExact);
    return new JoinedTensors(new TensorInfo(name, type, Shape.of(elements)), parts).tensor();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    int part = 0;
    int limit = destination.limit();
    for (long at = offset; destination.position() < limit; part++) {
      if (at < starts[part + 1]) {
        int length = (int) Math.min(starts[part + 1] - at, limit - destination.position());
        parts.get(part).read(at - starts[part], destination.limit(destination.position() + length));
        at += length;
      }
    }
    destination.limit(limit);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (Tensor part : parts) {
      part.version().verifyUnchanged();
    }
  }
}
