package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.hash.Hashing;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.GgufInfo;
import io.portllm.io.internal.gguf.GgufHeader;
import io.portllm.io.internal.gguf.GgufMetadata;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files that gguf-py wrote are read as gguf-py reads them, and rewritten byte for byte. {@code tools/golden_gguf_files.py} made them. */
class GoldenGgufTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden/gguf");

  @TempDir Path dir;

  private static JsonNode golden() throws IOException {
    return new ObjectMapper().readTree(Files.readAllBytes(GOLDEN.resolve("gguf.json")));
  }

  @Test
  void everyFileIsReadAsGgufPyReadsIt() throws IOException {
    JsonNode golden = golden();
    assertEquals(4, golden.size());
    for (Map.Entry<String, JsonNode> file : golden.properties()) {
      try (GgufModel model = GgufModel.openFile(GOLDEN.resolve(file.getKey()))) {
        GgufModel.Part part = model.parts().stream().filter(p -> p.file().path().endsWith(file.getKey())).findFirst().orElseThrow();
        GgufHeader header = part.header();
        assertEquals(file.getValue().get("version").intValue(), header.version());
        assertEquals(file.getValue().get("alignment").longValue(), header.alignment());
        assertMetadata(file.getValue().get("metadata"), header.metadata());
        assertTensors(file.getValue().get("tensors"), header.tensors(), model);
      }
    }
  }

  private static void assertMetadata(JsonNode expected, GgufMetadata metadata) throws IOException {
    List<String> keys = new ArrayList<>();
    expected.fieldNames().forEachRemaining(keys::add);
    assertEquals(keys, metadata.keys().asList());
    for (String key : keys) {
      JsonNode value = expected.get(key).get("value");
      switch (expected.get(key).get("types").get(0).textValue()) {
        case "STRING" -> assertEquals(Optional.of(value.textValue()), metadata.string(key));
        case "BOOL" -> assertEquals(Optional.of(value.booleanValue()), metadata.bool(key));
        case "FLOAT32", "FLOAT64" -> assertEquals(value.doubleValue(), metadata.number(key).orElseThrow(), key);
        case "UINT64" -> assertEquals(Optional.of("U64"), metadata.type(key).map(Enum::name));
        case "ARRAY" -> assertArray(key, value, expected.get(key).get("types").get(1).textValue(), metadata);
        default -> assertEquals(value.longValue(), metadata.integer(key).orElseThrow(), key);
      }
    }
  }

  private static void assertArray(String key, JsonNode value, String type, GgufMetadata metadata) throws IOException {
    List<Object> elements = new ArrayList<>();
    value.forEach(element -> elements.add(element.isTextual() ? element.textValue() : (Object) element.doubleValue()));
    if (type.equals("STRING")) {
      assertEquals(elements, metadata.strings(key).orElseThrow().toList());
    } else {
      assertEquals(elements, Arrays.stream(metadata.numbers(key).orElseThrow().toArray()).<Object>mapToObj(number -> number).toList());
    }
  }

  private static void assertTensors(JsonNode expected, List<TensorInfo> tensors, ModelVersion model) throws IOException {
    assertEquals(expected.size(), tensors.size());
    for (int i = 0; i < tensors.size(); i++) {
      TensorInfo tensor = tensors.get(i);
      assertEquals(expected.get(i).get("name").textValue(), tensor.name());
      assertEquals(expected.get(i).get("type").textValue(), tensor.dtype().name());
      assertEquals(expected.get(i).get("shape").toString(), tensor.shape().toString().replace(" ", ""));
      ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes());
      model.read(tensor, 0, bytes);
      assertEquals(expected.get(i).get("sha256").textValue(), Hashing.sha256().hashBytes(bytes.array()).toString(), tensor.name());
    }
  }

  @Test
  void everyFileIsRewrittenByteForByte() throws IOException {
    for (String name : List.of("tiny.gguf", "aligned.gguf")) {
      try (ModelVersion model = Checkpoints.open(GOLDEN.resolve(name))) {
        Checkpoints.write(model, dir.resolve(name));
      }
      assertArrayEquals(Files.readAllBytes(GOLDEN.resolve(name)), Files.readAllBytes(dir.resolve(name)), name);
    }
    try (ModelVersion model = Checkpoints.open(GOLDEN.resolve("split-00001-of-00002.gguf"))) {
      Checkpoints.write(model, dir.resolve("split"));
    }
    for (int i = 1; i <= 2; i++) {
      String name = "split-0000" + i + "-of-00002.gguf";
      assertArrayEquals(Files.readAllBytes(GOLDEN.resolve(name)), Files.readAllBytes(dir.resolve("split").resolve(name)), name);
    }
  }

  @Test
  void whatAFileSaysOfItselfIsSummarised() throws IOException {
    try (ModelVersion model = Checkpoints.open(GOLDEN.resolve("tiny.gguf"))) {
      GgufInfo info = GgufInfo.of(model).orElseThrow();

      assertEquals(3, info.version());
      assertEquals(32, info.alignment());
      assertEquals(Optional.of("llama"), info.architecture());
      assertEquals("general.architecture", info.metadata().keySet().iterator().next());
      assertEquals("18446744073709551615", info.metadata().get("t.u64"));
      assertEquals("-128", info.metadata().get("t.i8"));
      assertEquals("0.1", info.metadata().get("t.f32"));
      assertEquals("false", info.metadata().get("t.false"));
      assertEquals("gr\u00fc\u00dfe \ud83d\ude00", info.metadata().get("t.text"));
      assertEquals("[1, -2, 3]", info.metadata().get("t.integers"));
      assertEquals("(3 x STRING)", info.metadata().get("tokenizer.ggml.tokens"));
      assertEquals("(3 x F32)", info.metadata().get("tokenizer.ggml.scores"));
    }
  }
}
