package io.portllm.io.internal.gguf.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.FineTuned;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.ExportOptions;
import io.portllm.io.GgufAdapter;
import io.portllm.io.GgufExport;
import io.portllm.io.PeftAdapter;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The adapter of {@code hf-gguf/llama}, which PEFT made and llama.cpp's converter converted. */
class ConvertedAdapterTest {
  private static final Path FOLDER = Path.of("../../shared/golden/hf-gguf/llama");

  @TempDir
  Path scratch;

  @BeforeEach
  void requireGolden() {
    assumeTrue(Files.isDirectory(FOLDER), FOLDER + " is not there: the converted adapter cannot be compared");
  }

  @ParameterizedTest
  @ValueSource(strings = {"hf/base", "base.gguf"})
  void theExportedAdapterIsTheConverters(String base) throws IOException {
    Path file = scratch.resolve("adapter.gguf");
    try (ModelVersion model = Checkpoints.open(FOLDER.resolve(base)); PeftAdapter adapter = PeftAdapter.open(FOLDER.resolve("adapter"))) {
      GgufExport.write(Patch.from(adapter, model), file, ExportOptions.defaults().onto(model));
    }
    try (GgufModel expected = GgufModel.openFile(FOLDER.resolve("adapter.gguf")); GgufModel written = GgufModel.openFile(file)) {
      assertEquals(contents(expected), contents(written));
      for (String key : new String[] {"general.architecture", "general.type", "adapter.type"}) {
        assertEquals(expected.metadata().string(key), written.metadata().string(key), key);
      }
      assertEquals(expected.metadata().number("adapter.lora.alpha"), written.metadata().number("adapter.lora.alpha"));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"hf/base", "base.gguf"})
  void theConvertedAdapterChangesWhatPeftsDoes(String base) throws IOException {
    try (ModelVersion model = Checkpoints.open(FOLDER.resolve(base));
        PeftAdapter peft = PeftAdapter.open(FOLDER.resolve("adapter"));
        GgufAdapter converted = GgufAdapter.open(FOLDER.resolve("adapter.gguf"))) {
      Map<String, ByteBuffer> expected = applied(peft, model);
      assertEquals(expected, applied(converted, model));
      assertNotEquals(contents(model), expected);
      assertEquals(expected, contents(converted.patchFor(model).applyTo(model)));
    }
  }

  @Test
  void theConvertedAdapterMadeOnOneFormIsPutOnTheOther() throws IOException {
    try (ModelVersion checkpoint = Checkpoints.open(FOLDER.resolve("hf/base"));
        ModelVersion gguf = Checkpoints.open(FOLDER.resolve("base.gguf"));
        GgufAdapter adapter = GgufAdapter.open(FOLDER.resolve("adapter.gguf"))) {
      assertEquals(contents(Patch.from(adapter, gguf).applyTo(checkpoint)), contents(Patch.from(adapter, checkpoint).applyTo(checkpoint)));
      assertEquals(contents(Patch.from(adapter, checkpoint).applyTo(gguf)), contents(Patch.from(adapter, gguf).applyTo(gguf)));
    }
  }

  private static Map<String, ByteBuffer> applied(FineTuned adapter, ModelVersion base) throws IOException {
    return contents(Patch.from(adapter, base).applyTo(base));
  }

  private static Map<String, ByteBuffer> contents(ModelVersion model) throws IOException {
    Map<String, ByteBuffer> contents = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes()));
      model.read(tensor, 0, bytes);
      contents.put(tensor.name() + " " + tensor.dtype() + " " + tensor.shape(), bytes.flip());
    }
    return contents;
  }
}
