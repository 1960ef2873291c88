package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Tensors under names of their own. Closing it closes nothing. */
final class StoredParts implements ModelVersion {
  private final String name;
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, Tensor> sources = new LinkedHashMap<>();

  StoredParts(String name) {
    this.name = name;
  }

  /** Adds a tensor under another name. */
  void put(String tensor, Tensor source) {
    infos.put(tensor, new TensorInfo(tensor, source.info().dtype(), source.info().shape()));
    sources.put(tensor, source);
  }

  /** Adds a tensor of which only the shape is known, and which cannot be read. */
  void putShape(String tensor, Shape shape) {
    infos.put(tensor, new TensorInfo(tensor, DType.F32, shape));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("adapter_model.safetensors", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(infos.values());
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return Optional.ofNullable(infos.get(tensor));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    Tensor source = sources.get(tensor.name());
    if (source == null) {
      throw new IllegalStateException("only the shape of " + tensor + " is known");
    }
    source.read(offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (Tensor source : sources.values()) {
      source.version().verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
