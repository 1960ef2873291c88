package io.portllm.bench.real;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSortedMap;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The weights of an ONNX file as PyTorch had them before exporting: one shard, as Hugging Face names it. Weights that the graph
 * holds transposed are turned back as they are read.
 *
 * <p>Safe for use by many threads. Uses the weights in the file's memory.
 */
final class OnnxCheckpoint implements ModelVersion {
  private final OnnxFile file;
  private final Map<String, String> config;
  private final List<SideFile> sideFiles;
  private final Map<String, OnnxWeight> weights;
  private final Shard shard;
  private volatile boolean closed;

  /**
   * A version of these weights.
   *
   * @param file the ONNX file
   * @param config the model's configuration, flattened
   * @param sideFiles the files to put beside the weights
   */
  OnnxCheckpoint(OnnxFile file, Map<String, String> config, List<SideFile> sideFiles) {
    this.file = file;
    this.config = ImmutableSortedMap.copyOf(config);
    this.sideFiles = ImmutableList.copyOf(sideFiles);
    weights = file.weights().stream().collect(ImmutableMap.toImmutableMap(OnnxWeight::name, weight -> weight));
    List<TensorInfo> tensors = file.weights().stream().map(OnnxWeight::info).toList();
    shard = new Shard("model.safetensors", Map.of("format", "pt"), tensors);
  }

  @Override
  public String name() {
    return file.name();
  }

  @Override
  public List<Shard> shards() {
    return List.of(shard);
  }

  @Override
  public List<TensorInfo> tensors() {
    return shard.tensors();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(weights.get(name)).map(OnnxWeight::info);
  }

  @Override
  public Map<String, String> config() {
    return config;
  }

  @Override
  public List<SideFile> sideFiles() {
    return sideFiles;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (closed) {
      throw new IllegalStateException(name() + " is closed");
    }
    OnnxWeight weight = weights.get(tensor.name());
    if (weight == null || !weight.info().equals(tensor)) {
      throw new IllegalArgumentException(tensor + " is no tensor of " + name());
    }
    if (offset < 0 || offset % 4 != 0 || offset > tensor.bytes() - destination.remaining()) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from " + offset + " do not lie within the " + tensor.bytes() + " bytes of " + tensor);
    }
    if (weight.transposed()) {
      weight.getTransposed((int) (offset / 4), destination.slice().order(ByteOrder.LITTLE_ENDIAN));
      destination.position(destination.limit());
    } else {
      destination.put(weight.data().slice((int) offset, destination.remaining()));
    }
  }

  @Override
  public void close() {
    closed = true;
  }
}
