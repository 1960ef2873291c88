package io.portllm.io.internal.adapter.kind;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.RowChange;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A float32 tensor whose values are computed as they are read, such as the scaled factor of a low-rank change. */
final class ComputedTensor implements ModelVersion {
  /** Elements computed at a time, or one row if that is more. */
  private static final int RUN = 128 << 10;

  private final RowChange values;
  private final TensorInfo info;

  private ComputedTensor(String name, RowChange values) {
    this.values = values;
    this.info = new TensorInfo(name, DType.F32, values.shape());
  }

  /** The tensor of these values, which depend on no weights. */
  static Tensor of(String name, RowChange values) {
    ComputedTensor version = new ComputedTensor(name, values);
    return new Tensor(version, version.info);
  }

  @Override
  public String name() {
    return info.name();
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("computed.safetensors", Map.of(), List.of(info)));
  }

  @Override
  public List<TensorInfo> tensors() {
    return List.of(info);
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return name.equals(info.name()) ? Optional.of(info) : Optional.empty();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (!tensor.equals(info) || offset < 0 || offset + destination.remaining() > 4 * info.elements()) {
      throw new IllegalArgumentException("bytes " + offset + " to " + (offset + destination.remaining()) + " do not lie in "
          + Names.quote(tensor.name()));
    }
    long columns = values.rowLength();
    long at = offset / 4;
    while (destination.hasRemaining()) {
      long row = at / columns;
      int skip = (int) (at % columns);
      long needed = (skip + destination.remaining() / 4 + columns - 1) / columns;
      long rows = Math.min(needed, Math.max(1, RUN / columns));
      float[] run = new float[Math.toIntExact(rows * columns)];
      values.compute(row, row + rows, null, run);
      int count = Math.min(run.length - skip, destination.remaining() / 4);
      destination.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(run, skip, count);
      destination.position(destination.position() + 4 * count);
      at += count;
    }
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (Tensor input : values.inputs()) {
      input.version().verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
