package io.portllm.spark;

import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Small models on disk: versions of one another, in BF16. */
final class Models {
  private static final int COLUMNS = 64;
  private static final int ROWS = 48;

  private Models() {}

  private static List<TensorInfo> tensors(int layers) {
    List<TensorInfo> tensors = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      tensors.add(new TensorInfo("model.layers." + layer + ".self_attn.q_proj.weight", DType.BF16, Shape.of(ROWS, COLUMNS)));
      tensors.add(new TensorInfo("model.layers." + layer + ".input_layernorm.weight", DType.BF16, Shape.of(COLUMNS)));
    }
    return tensors;
  }

  /**
   * Writes a model.
   *
   * @param version 0 for the base; others differ from it by a little everywhere
   * @param shards how many files; with 1 there is no index
   */
  static Path write(Path folder, int version, int layers, int shards) throws IOException {
    Files.createDirectories(folder.resolve("extra"));
    List<TensorInfo> tensors = tensors(layers);
    Random old = new Random(1);
    Random change = new Random(version);
    Map<String, byte[]> values = new TreeMap<>();
    for (TensorInfo tensor : tensors) {
      ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
      while (bytes.hasRemaining()) {
        float value = (float) (old.nextGaussian() + (version == 0 ? 0 : 0.01 * change.nextGaussian()));
        bytes.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
      }
      values.put(tensor.name(), bytes.array());
    }
    StringBuilder map = new StringBuilder();
    for (int shard = 0; shard < shards; shard++) {
      String name = shards == 1 ? "model.safetensors" : String.format("model-%05d-of-%05d.safetensors", shard + 1, shards);
      List<TensorInfo> part = tensors.subList(tensors.size() * shard / shards, tensors.size() * (shard + 1) / shards);
      try (OutputStream out = Files.newOutputStream(folder.resolve(name))) {
        out.write(SafetensorsHeader.encode(part, Map.of("format", "pt")));
        for (TensorInfo tensor : part) {
          out.write(values.get(tensor.name()));
          map.append(map.isEmpty() ? "" : ", ").append('"').append(tensor.name()).append("\": \"").append(name).append('"');
        }
      }
    }
    if (shards > 1) {
      String index = "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {" + map + "}}";
      Files.writeString(folder.resolve("model.safetensors.index.json"), index);
    }
    Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"llama\", \"version\": " + version + "}");
    Files.writeString(folder.resolve("extra/notes.txt"), "of version " + version);
    return folder;
  }

  /** Puts a value into the first element of the first file that its type barely holds. */
  static void setFirst(Path file, int bits) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    int start = 8 + (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putShort(start, (short) bits);
    Files.write(file, bytes);
  }

  /** The digests of all files below a folder, hidden ones too. */
  static Map<String, String> digests(Path root) throws IOException {
    Map<String, String> found = new TreeMap<>();
    try (Stream<Path> paths = Files.walk(root)) {
      for (Path path : (Iterable<Path>) paths::iterator) {
        if (!Files.isDirectory(path)) {
          found.put(root.relativize(path).toString(), Hashing.sha256().hashBytes(Files.readAllBytes(path)).toString());
        }
      }
    }
    return found;
  }

  /** The names directly in a folder, sorted. */
  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }
}
