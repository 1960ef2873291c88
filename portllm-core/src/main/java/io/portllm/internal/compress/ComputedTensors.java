package io.portllm.internal.compress;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Tensors whose bytes are computed as they are read. Usable as long as what they are computed from is open. */
final class ComputedTensors implements ModelVersion {
  private final String name;
  private final ImmutableMap<TensorInfo, Content> contents;
  private final Set<ModelVersion> inputs = Collections.newSetFromMap(new IdentityHashMap<>());

  /** Computes the bytes of a tensor. */
  interface Content {
    /** Fills {@code target}, which is little-endian, with the bytes from byte {@code offset} of the tensor on. */
    void read(long offset, ByteBuffer target) throws IOException;
  }

  ComputedTensors(String name, Map<TensorInfo, Content> contents, List<Tensor> inputs) {
    this.name = name;
    this.contents = ImmutableMap.copyOf(contents);
    inputs.forEach(tensor -> this.inputs.add(tensor.version()));
  }

  Tensor get(TensorInfo info) {
    return new Tensor(this, info);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("computed.safetensors", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(contents.keySet());
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return contents.keySet().stream().filter(info -> info.name().equals(tensor)).findFirst();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    Content content = contents.get(tensor);
    if (content == null || offset < 0 || destination.remaining() > tensor.bytes() - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from byte " + offset + " do not lie within tensor " + Names.quote(tensor.name()));
    }
    content.read(offset, destination.slice().order(ByteOrder.LITTLE_ENDIAN));
    destination.position(destination.limit());
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (ModelVersion input : inputs) {
      input.verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
