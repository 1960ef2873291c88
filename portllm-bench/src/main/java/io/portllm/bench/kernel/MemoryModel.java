package io.portllm.bench.kernel;

import com.google.common.collect.ImmutableList;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A model whose tensors lie in memory, as those of a file in the page cache do. */
final class MemoryModel implements ModelVersion {
  private final String name;
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, ByteBuffer> values = new LinkedHashMap<>();

  MemoryModel(String name) {
    this.name = name;
  }

  /** Adds a tensor, whose bytes are those of {@code bytes} from index 0. Not while the model is read. */
  Tensor add(TensorInfo info, ByteBuffer bytes) {
    tensors.put(info.name(), info);
    values.put(info.name(), bytes);
    return new Tensor(this, info);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(tensors.values());
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return Optional.ofNullable(tensors.get(tensor));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    int length = destination.remaining();
    destination.put(destination.position(), values.get(tensor.name()), Math.toIntExact(offset), length);
    destination.position(destination.position() + length);
  }

  @Override
  public void close() {}
}
