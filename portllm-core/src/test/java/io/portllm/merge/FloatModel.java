package io.portllm.merge;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A model of float32 tensors in memory. */
final class FloatModel implements ModelVersion {
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, float[]> values = new LinkedHashMap<>();

  /** Adds a tensor. */
  FloatModel with(String name, float[] tensor, long... shape) {
    infos.put(name, new TensorInfo(name, DType.F32, Shape.of(shape)));
    values.put(name, tensor);
    return this;
  }

  /** A tensor by itself. */
  static Tensor tensor(float[] values, long... shape) {
    return new FloatModel().with("t", values, shape).tensor("t").orElseThrow();
  }

  /** This model's tensors as changes. */
  Patch asPatch(String recipe) {
    Map<String, Delta> deltas = new LinkedHashMap<>();
    infos.keySet().forEach(name -> deltas.put(name, new Delta.Dense(tensor(name).orElseThrow())));
    return Patch.of(deltas, Optional.empty(), recipe);
  }

  /** The changes that a patch makes to a tensor, added to zeros. */
  static float[] changes(Patch patch, String name, long... shape) throws IOException {
    FloatModel zeros = new FloatModel().with(name, new float[Math.toIntExact(Shape.of(shape).elements())], shape);
    ModelVersion applied = patch.only(name).applyTo(zeros);
    TensorInfo tensor = applied.find(name).orElseThrow();
    ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    applied.read(tensor, 0, bytes);
    float[] changes = new float[Math.toIntExact(tensor.elements())];
    bytes.flip().asFloatBuffer().get(changes);
    return changes;
  }

  @Override
  public String name() {
    return "floats";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("model.safetensors", Map.of(), List.copyOf(infos.values())));
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
  public Map<String, String> config() {
    return Map.of();
  }

  @Override
  public List<SideFile> sideFiles() {
    return List.of();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values.get(tensor.name()));
    destination.put(bytes.slice((int) offset, destination.remaining()));
  }

  @Override
  public void close() {}
}
