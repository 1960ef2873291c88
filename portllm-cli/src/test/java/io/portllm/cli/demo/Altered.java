package io.portllm.cli.demo;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** A model with another configuration or other tensor headers than its files have. */
record Altered(ModelVersion model, Map<String, String> config, List<TensorInfo> tensors) implements ModelVersion {
  static Altered config(ModelVersion model, String key, String value) {
    Map<String, String> config = new TreeMap<>(model.config());
    config.put(key, value);
    return new Altered(model, config, model.tensors());
  }

  static Altered tensors(ModelVersion model, List<TensorInfo> tensors) {
    return new Altered(model, model.config(), tensors);
  }

  @Override
  public String name() {
    return "altered";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), tensors));
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return tensors.stream().filter(info -> info.name().equals(name)).findFirst();
  }

  @Override
  public List<SideFile> sideFiles() {
    return List.of();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    model.read(tensor, offset, destination);
  }

  @Override
  public void close() {}
}
