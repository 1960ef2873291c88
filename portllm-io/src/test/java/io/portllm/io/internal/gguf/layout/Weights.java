package io.portllm.io.internal.gguf.layout;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A model of float32 values in memory; tensors of other types have no values. */
final class Weights implements ModelVersion {
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, float[]> values = new LinkedHashMap<>();

  Weights with(TensorInfo info, float... elements) {
    infos.put(info.name(), info);
    values.put(info.name(), elements);
    return this;
  }

  @Override
  public String name() {
    return "weights";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return List.copyOf(infos.values());
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(infos.get(name));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    ByteBuffer ordered = destination.slice().order(ByteOrder.LITTLE_ENDIAN);
    int count = ordered.remaining() / 4;
    ordered.asFloatBuffer().put(values.get(tensor.name()), (int) (offset / 4), count);
    destination.position(destination.limit());
  }

  @Override
  public void close() {}
}
