package io.portllm.nd4j;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSortedMap;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/** A model version over arrays in memory. */
final class ArrayModel implements ModelVersion {
  private final String name;
  private final ImmutableMap<String, ArrayTensor> tensors;
  private final ImmutableList<TensorInfo> infos;
  private final ImmutableSortedMap<String, String> config;
  private volatile boolean closed;

  ArrayModel(String name, Map<String, ArrayTensor> tensors, Map<String, String> config) {
    this.name = Objects.requireNonNull(name, "name");
    this.tensors = ImmutableMap.copyOf(tensors);
    this.infos = tensors.values().stream().map(ArrayTensor::info).collect(ImmutableList.toImmutableList());
    this.config = ImmutableSortedMap.copyOf(config);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), infos));
  }

  @Override
  public List<TensorInfo> tensors() {
    return infos;
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return Optional.ofNullable(tensors.get(tensor)).map(ArrayTensor::info);
  }

  @Override
  public Map<String, String> config() {
    return config;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    if (closed) {
      throw new IllegalStateException("model " + Names.quote(name) + " was closed");
    }
    ArrayTensor found = tensors.get(tensor.name());
    if (found == null || !found.info().equals(tensor)) {
      throw new IllegalArgumentException("model " + Names.quote(name) + " does not have " + tensor);
    }
    found.read(offset, destination);
  }

  @Override
  public void close() {
    closed = true;
  }

  @Override
  public String toString() {
    return "Nd4jModel[" + name + ", " + infos.size() + " tensors]";
  }
}
