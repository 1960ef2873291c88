package io.portllm.io.exact;

import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A model of chosen bytes, to be written as a file. */
final class StoredModel {
  private final Map<TensorInfo, byte[]> tensors = new LinkedHashMap<>();

  /** Adds a tensor, or replaces the one of this name. */
  StoredModel with(String name, DType type, byte[] bytes, long... shape) {
    TensorInfo info = new TensorInfo(name, type, Shape.of(shape));
    if (info.bytes() != bytes.length) {
      throw new IllegalArgumentException(info + " has " + info.bytes() + " bytes, not " + bytes.length);
    }
    tensors.keySet().removeIf(other -> other.name().equals(name));
    tensors.put(info, bytes);
    return this;
  }

  /** Writes the file. */
  Path write(Path file) throws IOException {
    byte[] header = SafetensorsHeader.encode(new ArrayList<>(tensors.keySet()), Map.of("format", "pt"));
    ByteBuffer all = ByteBuffer.allocate(header.length + tensors.values().stream().mapToInt(bytes -> bytes.length).sum());
    all.put(header);
    tensors.values().forEach(all::put);
    return Files.write(file, all.array());
  }

  /** Types, shapes and digests of the bytes, by name. */
  static Map<String, String> contents(ModelVersion model) throws IOException {
    Map<String, String> contents = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes());
      model.read(tensor, 0, bytes);
      contents.put(tensor.name(), tensor.dtype() + " " + tensor.shape() + " " + Hashing.sha256().hashBytes(bytes.array()));
    }
    return contents;
  }

  /** The names of the tensors in the order of the files. */
  static List<String> names(ModelVersion model) {
    return model.tensors().stream().map(TensorInfo::name).toList();
  }
}
