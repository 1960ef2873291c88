package io.portllm.io.write;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;

/** One tensor of any size whose bytes follow from where they are. */
final class ComputedModel implements ModelVersion {
  private final TensorInfo tensor;
  private final AtomicInteger reads;

  ComputedModel(long bytes, AtomicInteger reads) {
    this.tensor = new TensorInfo("w", DType.I64, Shape.of(bytes / 8));
    this.reads = reads;
  }

  /** Element number {@code index}. */
  static long element(long index) {
    return index * 0x9e3779b97f4a7c15L;
  }

  @Override
  public String name() {
    return "computed";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), List.of(tensor)));
  }

  @Override
  public List<TensorInfo> tensors() {
    return List.of(tensor);
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.of(tensor).filter(info -> info.name().equals(name));
  }

  @Override
  public Map<String, String> config() {
    return Map.of();
  }

  @Override
  public List<SideFile> sideFiles() {
    return List.of();
  }

  @Override
  public void read(TensorInfo info, long offset, ByteBuffer destination) {
    reads.incrementAndGet();
    destination.order(ByteOrder.LITTLE_ENDIAN);
    for (long index = offset / 8; destination.hasRemaining(); index++) {
      destination.putLong(element(index));
    }
  }

  @Override
  public void close() {}
}
