package io.portllm.io.write;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;

/** A small model in memory, which can do something before each read, and be saved as a folder without the writer under test. */
public final class TestModel implements ModelVersion {
  /** Done before each read. */
  public interface Hook {
    void beforeRead(TensorInfo tensor, long offset) throws IOException;
  }

  private final String name;
  private final Map<String, byte[]> data = new LinkedHashMap<>();
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, List<TensorInfo>> shards = new LinkedHashMap<>();
  private final Map<String, Map<String, String>> metadata = new LinkedHashMap<>();
  private final Map<String, String> config = new TreeMap<>();
  private final Map<String, byte[]> sides = new TreeMap<>();
  private Hook hook = (tensor, offset) -> {};

  public TestModel(String name) {
    this.name = name;
  }

  /** A new file, which the tensors that follow go to. */
  public TestModel shard(String fileName, Map<String, String> free) {
    shards.put(fileName, new ArrayList<>());
    metadata.put(fileName, free);
    return this;
  }

  /** A tensor in the last file, {@code model.safetensors} if there is none. */
  public TestModel tensor(String tensor, DType type, byte[] bytes, long... shape) {
    if (shards.isEmpty()) {
      shard("model.safetensors", Map.of("format", "pt"));
    }
    TensorInfo info = new TensorInfo(tensor, type, Shape.of(shape));
    if (info.bytes() != bytes.length || infos.put(tensor, info) != null) {
      throw new IllegalArgumentException(info + " of " + bytes.length + " bytes");
    }
    data.put(tensor, bytes);
    shards.get(List.copyOf(shards.keySet()).get(shards.size() - 1)).add(info);
    return this;
  }

  /** A tensor of random values of about this size. */
  public TestModel random(String tensor, DType type, long seed, double size, long... shape) {
    return tensor(tensor, type, values(type, seed, size, Shape.of(shape).elements()), shape);
  }

  /** A value of {@code config.json}. */
  public TestModel config(String key, String value) {
    config.put(key, value);
    return this;
  }

  /** A side file. */
  public TestModel side(String path, String text) {
    sides.put(path, text.getBytes(StandardCharsets.UTF_8));
    return this;
  }

  /** Without this side file. */
  public TestModel without(String path) {
    sides.remove(path);
    return this;
  }

  /** What to do before each read. */
  public TestModel onRead(Hook action) {
    hook = action;
    return this;
  }

  /** This model with its tensors, in the order given, spread over so many files. */
  public TestModel resharded(List<String> order, int files) {
    TestModel other = new TestModel(name);
    for (int file = 0; file < files; file++) {
      other.shard(String.format("model-%05d-of-%05d.safetensors", file + 1, files), Map.of("format", "pt"));
      for (String tensor : order.subList(order.size() * file / files, order.size() * (file + 1) / files)) {
        other.tensor(tensor, infos.get(tensor).dtype(), data.get(tensor), infos.get(tensor).shape().toArray());
      }
    }
    other.config.putAll(config);
    other.sides.putAll(sides);
    return other;
  }

  /** The names of all tensors. */
  public List<String> names() {
    return List.copyOf(infos.keySet());
  }

  /** The bytes of a tensor. */
  public byte[] bytes(String tensor) {
    return data.get(tensor);
  }

  /** Random values of about this size, as little-endian elements. Values of 16 bits are cut, not rounded. */
  public static byte[] values(DType type, long seed, double size, long count) {
    Random random = new Random(seed);
    double[] values = new double[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian() * size;
    }
    return encode(type, values);
  }

  /** Values as little-endian elements; those of 16 bits are cut, not rounded. */
  public static byte[] encode(DType type, double... values) {
    ByteBuffer bytes = ByteBuffer.allocate(values.length * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (double value : values) {
      int bits = Float.floatToRawIntBits((float) value);
      switch (type) {
        case F64 -> bytes.putDouble(value);
        case F32 -> bytes.putInt(bits);
        case BF16 -> bytes.putShort((short) (bits >>> 16));
        case F16 -> bytes.putShort((short) half(bits));
        case I64 -> bytes.putLong((long) value);
        case I32 -> bytes.putInt((int) value);
        case U8, BOOL -> bytes.put((byte) value);
        default -> throw new IllegalArgumentException("no values of " + type);
      }
    }
    return bytes.array();
  }

  private static int half(int bits) {
    int exponent = (bits >>> 23 & 0xff) - 127 + 15;
    int sign = bits >>> 16 & 0x8000;
    if (exponent <= 0) {
      return sign;
    }
    return exponent > 30 ? sign | 0x7c00 : sign | exponent << 10 | bits >>> 13 & 0x3ff;
  }

  /** Writes this model as Hugging Face does: files, an index if there are several, configuration and side files. */
  public Path saveTo(Path folder) {
    try {
      Files.createDirectories(folder);
      for (Shard shard : shards()) {
        Path file = folder.resolve(shard.fileName());
        Files.createDirectories(file.getParent());
        saveFile(shard, file);
      }
      if (shards.size() > 1) {
        Files.writeString(folder.resolve("model.safetensors.index.json"), index("{\"total_size\": " + totalBytes() + "}"));
      }
      if (!config.isEmpty()) {
        StringBuilder json = new StringBuilder();
        config.forEach((key, value) -> json.append(json.isEmpty() ? "{" : ",").append('"').append(key).append("\":").append(value));
        Files.writeString(folder.resolve("config.json"), json + "}");
      }
      for (Map.Entry<String, byte[]> side : sides.entrySet()) {
        Path file = folder.resolve(side.getKey());
        Files.createDirectories(file.getParent());
        Files.write(file, side.getValue());
      }
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** An index of this model's files. */
  public String index(String free) {
    StringBuilder map = new StringBuilder();
    shards.forEach(
        (file, tensors) ->
            tensors.forEach(tensor -> map.append(map.isEmpty() ? "" : ",\n")
                .append('"').append(tensor.name()).append("\": \"").append(file).append('"')));
    return "{\"metadata\": " + free + ", \"weight_map\": {" + map + "}}";
  }

  /** Writes the only file of this model. */
  public Path saveFile(Path file) {
    try {
      saveFile(shards().get(0), file);
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void saveFile(Shard shard, Path file) throws IOException {
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(SafetensorsHeader.encode(shard.tensors(), shard.metadata()));
      for (TensorInfo tensor : shard.tensors()) {
        out.write(data.get(tensor.name()));
      }
    }
  }

  /** The bytes of all tensors. */
  public long totalBytes() {
    return data.values().stream().mapToLong(bytes -> bytes.length).sum();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    List<Shard> all = new ArrayList<>();
    shards.forEach((file, tensors) -> all.add(new Shard(file, metadata.get(file), tensors)));
    return all;
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
    List<SideFile> files = new ArrayList<>();
    sides.forEach(
        (path, bytes) ->
            files.add(
                new SideFile() {
                  @Override
                  public String name() {
                    return path;
                  }

                  @Override
                  public InputStream open() {
                    return new ByteArrayInputStream(bytes);
                  }
                }));
    return files;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    hook.beforeRead(tensor, offset);
    destination.put(data.get(tensor.name()), Math.toIntExact(offset), destination.remaining());
  }

  @Override
  public void close() {}
}
