package io.portllm.io.internal.safetensors;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Small files for tests. */
final class Fixtures {
  private Fixtures() {}

  static Path resource(String name) {
    URL url = Fixtures.class.getResource("/" + name);
    if (url == null) {
      throw new IllegalArgumentException("no resource " + name);
    }
    try {
      return Path.of(url.toURI());
    } catch (URISyntaxException e) {
      throw new IllegalArgumentException(e);
    }
  }

  /** A file with this header, not padded, and zeros as data. */
  static byte[] file(String header, int dataBytes) {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + text.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).put(text).array();
  }

  /** A file of tensors whose bytes count up from {@code first}. */
  static byte[] file(int first, Map<String, String> metadata, TensorInfo... tensors) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.writeBytes(SafetensorsHeader.encode(List.of(tensors), metadata));
    int next = first;
    for (TensorInfo tensor : tensors) {
      for (long i = 0; i < tensor.bytes(); i++) {
        bytes.write(next++);
      }
    }
    return bytes.toByteArray();
  }

  static TensorInfo tensor(String name, DType dtype, long... shape) {
    return new TensorInfo(name, dtype, Shape.of(shape));
  }

  static Path write(Path path, byte[] bytes) {
    try {
      Files.createDirectories(path.toAbsolutePath().getParent());
      return Files.write(path, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Path write(Path path, String text) {
    return write(path, text.getBytes(StandardCharsets.UTF_8));
  }

  /** A folder of {@code count} shards with one tensor {@code t<i>} of 4 bytes each, and their index. */
  static void writeShards(Path folder, int count) {
    StringBuilder map = new StringBuilder();
    for (int i = 0; i < count; i++) {
      String name = String.format("model-%05d-of-%05d.safetensors", i + 1, count);
      write(folder.resolve(name), file(i, Map.of("format", "pt"), tensor("t" + i, DType.F32, 1)));
      map.append(i == 0 ? "" : ",").append("\"t").append(i).append("\":\"").append(name).append('"');
    }
    write(folder.resolve(ShardIndex.FILE_NAME), "{\"metadata\":{\"total_size\":" + 4 * count + "},\"weight_map\":{" + map + "}}");
  }
}
