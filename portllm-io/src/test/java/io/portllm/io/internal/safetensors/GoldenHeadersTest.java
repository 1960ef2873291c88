package io.portllm.io.internal.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The reader agrees with Python's safetensors, as recorded by {@code tools/golden_headers.py}. */
class GoldenHeadersTest {
  static Stream<String> files() throws IOException {
    Iterable<String> names = () -> golden().fieldNames();
    return StreamSupport.stream(names.spliterator(), false);
  }

  @ParameterizedTest
  @MethodSource("files")
  void namesTypesShapesBytesAndMetadataAreWhatPythonReads(String name) throws Exception {
    JsonNode expected = golden().get(name);
    try (SafetensorsModel model = SafetensorsModel.openFile(Fixtures.resource(name))) {
      Shard shard = model.shards().get(0);
      Map<String, String> metadata = new TreeMap<>();
      expected.get("metadata").properties().forEach(entry -> metadata.put(entry.getKey(), entry.getValue().textValue()));
      assertEquals(metadata, shard.metadata());
      assertEquals(
          StreamSupport.stream(expected.get("data_order").spliterator(), false).map(JsonNode::textValue).toList(),
          shard.tensors().stream().filter(tensor -> tensor.bytes() > 0).map(TensorInfo::name).toList());
      assertEquals(expected.get("tensors").size(), model.tensors().size());
      for (TensorInfo tensor : model.tensors()) {
        JsonNode said = expected.get("tensors").get(tensor.name());
        assertEquals(said.get("dtype").textValue(), tensor.dtype().name());
        assertArrayEquals(
            StreamSupport.stream(said.get("shape").spliterator(), false).mapToLong(JsonNode::longValue).toArray(),
            tensor.shape().toArray());
        assertEquals(said.get("sha256").textValue(), digest(model, tensor));
      }
    }
  }

  @Test
  void theEncodedHeaderIsByteForByteWhatPythonWrote() throws IOException {
    Path path = Fixtures.resource("golden/python.safetensors");
    try (SafetensorsModel model = SafetensorsModel.openFile(path)) {
      Shard shard = model.shards().get(0);
      byte[] header = SafetensorsHeader.encode(shard.tensors(), shard.metadata());
      assertArrayEquals(Arrays.copyOf(Files.readAllBytes(path), header.length), header);
    }
  }

  @Test
  void everySharedCheckpointAndAdapterOpens() throws IOException {
    List<Path> folders = Stream.of("lab", "peft", "real").map(name -> Path.of("../../shared", name)).toList();
    assumeTrue(folders.stream().allMatch(Files::isDirectory), "no shared models");
    int opened = 0;
    for (Path folder : folders) {
      try (Stream<Path> walk = Files.walk(folder)) {
        for (Path file : walk.filter(path -> path.toString().endsWith(".safetensors")).toList()) {
          try (SafetensorsModel model = SafetensorsModel.openFile(file)) {
            assertEquals(1, model.shards().size(), file::toString);
            opened++;
          }
          if (file.endsWith("model.safetensors") && Files.exists(file.resolveSibling("config.json"))) {
            try (SafetensorsModel model = SafetensorsModel.openFolder(file.getParent())) {
              assertEquals(false, model.config().isEmpty(), file::toString);
            }
          }
        }
      }
    }
    assertEquals(true, opened > 50, opened + " files");
  }

  private static JsonNode golden() {
    try {
      return new ObjectMapper().readTree(Files.readAllBytes(Fixtures.resource("golden/headers.json"))).get("files");
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static String digest(SafetensorsModel model, TensorInfo tensor) throws IOException, NoSuchAlgorithmException {
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes());
    model.read(tensor, 0, bytes);
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array()));
  }
}
