package io.portllm.testing;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/** A model version whose tensors are byte arrays. As strict about ranges as the interface says. */
public final class MemoryModel implements ModelVersion {
  private final String name;
  private final List<Shard> shards;
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, byte[]> bytes;
  private final Map<String, String> config;
  private volatile boolean closed;
  private volatile boolean changed;

  private MemoryModel(Builder builder) {
    this.name = builder.name;
    this.shards = builder.shards();
    this.bytes = Map.copyOf(builder.bytes);
    this.config = Map.copyOf(builder.config);
    shards.forEach(shard -> shard.tensors().forEach(tensor -> infos.put(tensor.name(), tensor)));
  }

  /** A model called {@code name}, to be filled. */
  public static Builder named(String name) {
    return new Builder(name);
  }

  /** One tensor of a model of its own. */
  public static Tensor tensor(DType dtype, Shape shape, double... values) {
    return named("tensors").tensor("t", dtype, shape, values).build().tensor("t").orElseThrow();
  }

  /** One tensor of a model of its own, with random values of about {@code size}. */
  public static Tensor random(DType dtype, Shape shape, double size, long seed) {
    return named("tensors").random("t", dtype, shape, size, seed).build().tensor("t").orElseThrow();
  }

  /** All bytes of {@code tensor} in {@code model}, read at once. */
  public static byte[] bytes(ModelVersion model, String tensor) throws IOException {
    TensorInfo info = model.find(tensor).orElseThrow();
    ByteBuffer all = ByteBuffer.allocate((int) info.bytes());
    model.read(info, 0, all);
    return all.array();
  }

  /** All values of {@code tensor} in {@code model}. */
  public static double[] values(ModelVersion model, String tensor) throws IOException {
    return Codes.values(model.find(tensor).orElseThrow().dtype(), bytes(model, tensor));
  }

  /** All values of {@code tensor}. */
  public static double[] values(Tensor tensor) throws IOException {
    return values(tensor.version(), tensor.info().name());
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
    return List.copyOf(infos.values());
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return Optional.ofNullable(infos.get(tensor));
  }

  @Override
  public Map<String, String> config() {
    return config;
  }

  @Override
  public List<SideFile> sideFiles() {
    return List.of();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) {
    if (closed) {
      throw new IllegalStateException(name + " is closed");
    }
    byte[] all = bytes.get(tensor.name());
    if (all == null || !tensor.equals(infos.get(tensor.name())) || offset < 0 || destination.remaining() > all.length - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from " + offset + " do not lie within " + tensor + " of " + name);
    }
    destination.put(all, (int) offset, destination.remaining());
  }

  /** From now on, the model counts as changed underneath. */
  public void change() {
    changed = true;
  }

  @Override
  public void verifyUnchanged() throws IOException {
    if (changed) {
      throw new IOException(name + " changed");
    }
  }

  @Override
  public void close() {
    closed = true;
  }

  /** Collects tensors in order. */
  public static final class Builder {
    private final String name;
    private final Map<String, String> config = new LinkedHashMap<>();
    private final Map<String, byte[]> bytes = new LinkedHashMap<>();
    private final List<List<TensorInfo>> files = new ArrayList<>(List.of(new ArrayList<>()));
    private Map<String, String> metadata = Map.of();

    private Builder(String name) {
      this.name = name;
    }

    /** A line of the flattened configuration. */
    public Builder config(String key, String value) {
      config.put(key, value);
      return this;
    }

    /** The metadata of every weight file. */
    public Builder metadata(Map<String, String> all) {
      metadata = all;
      return this;
    }

    /** Further tensors go to another weight file. */
    public Builder nextShard() {
      files.add(new ArrayList<>());
      return this;
    }

    /** A tensor of a floating type, its values rounded. */
    public Builder tensor(String tensor, DType dtype, Shape shape, double... values) {
      return raw(tensor, dtype, shape, Codes.bytes(dtype, values));
    }

    /** A tensor of F32. */
    public Builder f32(String tensor, Shape shape, double... values) {
      return tensor(tensor, DType.F32, shape, values);
    }

    /** A tensor of random values, normally distributed with deviation {@code size}. */
    public Builder random(String tensor, DType dtype, Shape shape, double size, long seed) {
      Random random = new Random(seed);
      return tensor(tensor, dtype, shape, random.doubles(shape.elements()).map(x -> random.nextGaussian() * size).toArray());
    }

    /** A tensor with these bytes. */
    public Builder raw(String tensor, DType dtype, Shape shape, byte[] all) {
      TensorInfo info = new TensorInfo(tensor, dtype, shape);
      if (info.bytes() != all.length || bytes.put(tensor, all) != null) {
        throw new IllegalArgumentException(info + " with " + all.length + " bytes");
      }
      files.get(files.size() - 1).add(info);
      return this;
    }

    private List<Shard> shards() {
      List<Shard> shards = new ArrayList<>();
      for (List<TensorInfo> file : files) {
        shards.add(new Shard("model-" + (shards.size() + 1) + ".safetensors", metadata, file));
      }
      return shards;
    }

    /** The model. */
    public MemoryModel build() {
      return new MemoryModel(this);
    }
  }
}
