package io.portllm.bench.generate;

import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * A model that is stored nowhere: each weight is computed from its tensor's name and its position when it is read. The same recipe
 * gives the same weights whatever the sharding.
 */
final class GeneratedModel implements ModelVersion {
  private final String name;
  private final List<Shard> shards;
  private final Map<String, TensorInfo> tensors;
  private final List<SideFile> sideFiles;
  private final List<Noise> recipe;

  private GeneratedModel(String name, List<Shard> shards, SideFile config, List<Noise> recipe) {
    this.name = name;
    this.shards = ImmutableList.copyOf(shards);
    this.tensors = shards.stream()
        .flatMap(shard -> shard.tensors().stream())
        .collect(Collectors.toUnmodifiableMap(TensorInfo::name, Function.identity()));
    this.sideFiles = List.of(config);
    this.recipe = List.copyOf(recipe);
  }

  /** A model whose weights are the sum of {@code recipe}; the weights of norms are 1 more. */
  static GeneratedModel model(LlamaShape shape, DType type, int shards, List<Noise> recipe) {
    if (type != DType.BF16 && type != DType.F32) {
      throw new IllegalArgumentException("dtype must be BF16 or F32 but was " + type);
    }
    return new GeneratedModel(
        "generated " + shape.label(), split(shape.tensors(type), shards), new Text("config.json", shape.config(type)), recipe);
  }

  /** A LoRA adapter, as a model of its factors. */
  static GeneratedModel adapter(LlamaShape shape, int rank, DType type, Noise noise) {
    return new GeneratedModel(
        "generated adapter for " + shape.label(),
        List.of(new Shard("adapter_model.safetensors", Map.of("format", "pt"), shape.factors(rank, type))),
        new Text("adapter_config.json", LlamaShape.adapterConfig(rank)),
        List.of(noise));
  }

  /** Cuts the tensors, in their order, into files of about the same size. */
  private static List<Shard> split(List<TensorInfo> tensors, int count) {
    if (count < 1 || count > tensors.size()) {
      throw new IllegalArgumentException("shards must be 1 to " + tensors.size() + " but was " + count);
    }
    long total = tensors.stream().mapToLong(TensorInfo::bytes).sum();
    List<Shard> shards = new ArrayList<>();
    long before = 0;
    int next = 0;
    for (int i = 1; i <= count; i++) {
      List<TensorInfo> part = new ArrayList<>();
      // Each file takes at least one tensor and leaves one for each file to come.
      while (tensors.size() - next > count - i && (part.isEmpty() || i == count || before < total / count * i)) {
        before += tensors.get(next).bytes();
        part.add(tensors.get(next++));
      }
      String file = count == 1 ? "model.safetensors" : String.format("model-%05d-of-%05d.safetensors", i, count);
      shards.add(new Shard(file, Map.of("format", "pt"), part));
    }
    return shards;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return shards.stream().flatMap(shard -> shard.tensors().stream()).toList();
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return Optional.ofNullable(tensors.get(tensor));
  }

  @Override
  public List<SideFile> sideFiles() {
    return sideFiles;
  }

  /** The weights of a tensor from number {@code first} on, before they are rounded. */
  void fill(String tensor, long first, float[] values) {
    Arrays.fill(values, tensor.endsWith("norm.weight") ? 1 : 0);
    for (Noise noise : recipe) {
      noise.addTo(values, tensor, first);
    }
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    int size = tensor.dtype().bytes();
    int count = destination.remaining() / size;
    if (offset < 0 || offset % size != 0 || destination.remaining() % size != 0 || offset + destination.remaining() > tensor.bytes()) {
      throw new IllegalArgumentException("bytes " + offset + " and " + destination.remaining() + " more are no elements of " + tensor);
    }
    float[] values = new float[count];
    fill(tensor.name(), offset / size, values);
    ByteOrder order = destination.order();
    destination.order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      if (tensor.dtype() == DType.F32) {
        destination.putFloat(value);
      } else {
        destination.putShort(nearestBfloat16(value));
      }
    }
    destination.order(order);
  }

  @Override
  public void close() {}

  /** Finite values only. */
  private static short nearestBfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  private record Text(String name, String text) implements SideFile {
    @Override
    public InputStream open() throws IOException {
      return new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
    }
  }
}
