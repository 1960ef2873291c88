package io.portllm.io.internal.gguf.lora;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A Hugging Face checkpoint in memory, all float32: element i of each tensor is i / 16. */
record Checkpoint(Map<String, String> config, Map<String, Shape> shapes) implements ModelVersion {
  /** A checkpoint of a class with four heads, two of them of keys. */
  static Checkpoint of(String type) {
    return new Checkpoint(
        Map.of("architectures.0", type, "num_attention_heads", "4", "num_key_value_heads", "2"), new LinkedHashMap<>());
  }

  Checkpoint with(String name, long... shape) {
    shapes.put(name, Shape.of(shape));
    return this;
  }

  @Override
  public String name() {
    return "checkpoint";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return shapes.entrySet().stream().map(tensor -> new TensorInfo(tensor.getKey(), DType.F32, tensor.getValue())).toList();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(shapes.get(name)).map(shape -> new TensorInfo(name, DType.F32, shape));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    ByteBuffer ordered = destination.slice().order(ByteOrder.LITTLE_ENDIAN);
    for (long element = offset / 4; ordered.hasRemaining(); element++) {
      ordered.putFloat(element / 16f);
    }
    destination.position(destination.limit());
  }

  @Override
  public void close() {}
}
