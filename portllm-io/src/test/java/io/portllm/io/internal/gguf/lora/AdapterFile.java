package io.portllm.io.internal.gguf.lora;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.gguf.NewGguf;
import io.portllm.io.internal.gguf.NewMetadata;
import io.portllm.io.internal.write.CheckpointWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A GGUF file in the making: metadata and tensors as they are given. */
final class AdapterFile implements NewGguf {
  private final NewMetadata metadata;
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, byte[]> bytes = new LinkedHashMap<>();

  AdapterFile(NewMetadata metadata) {
    this.metadata = metadata;
  }

  /** The start of an adapter as llama.cpp wants it. */
  static AdapterFile lora(String architecture, float alpha) {
    return new AdapterFile(new NewMetadata().with("general.architecture", architecture).with("general.type", "adapter")
        .with("adapter.type", "lora").with("adapter.lora.alpha", alpha));
  }

  AdapterFile with(String name, Shape shape, float... values) {
    ByteBuffer buffer = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    buffer.asFloatBuffer().put(values);
    return with(new TensorInfo(name, DType.F32, shape), buffer.array());
  }

  AdapterFile withQuantised(DType type, String name, Shape shape, float... values) {
    TensorInfo info = new TensorInfo(name, type, shape);
    ByteBuffer buffer = ByteBuffer.allocate(Math.toIntExact(info.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    BlockCodecs.of(type).quantise(values, 0, values.length, buffer, 0);
    return with(info, buffer.array());
  }

  AdapterFile with(TensorInfo info, byte[] content) {
    infos.put(info.name(), info);
    bytes.put(info.name(), content);
    return this;
  }

  Path writeTo(Path file) throws IOException {
    CheckpointWriter.write(this, file, WriteOptions.defaults());
    return file;
  }

  @Override
  public NewMetadata metadata() {
    return metadata;
  }

  @Override
  public String name() {
    return "adapter";
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("adapter.gguf", Map.of(), tensors()));
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
    destination.put(bytes.get(tensor.name()), (int) offset, destination.remaining());
  }

  @Override
  public void close() {}
}
