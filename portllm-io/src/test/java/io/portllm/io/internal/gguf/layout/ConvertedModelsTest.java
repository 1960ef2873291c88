package io.portllm.io.internal.gguf.layout;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Layouts against whole models that llama.cpp's converter converted, as {@code hf-gguf/README.md} says: weights of trained models' types. */
class ConvertedModelsTest {
  @ParameterizedTest
  @ValueSource(strings = {
    "falcon-mq", "gemma2", "gemma3-oov", "gpt2", "llama", "llama-bias", "llama3", "mixtral", "olmo2", "phi3", "qwen2"
  })
  void convertedWeightsAreTheConvertersBothWays(String family) throws IOException {
    Path folder = Path.of("../../shared/golden/hf-gguf").resolve(family);
    assumeTrue(Files.isDirectory(folder), folder + " is not there: the converted models cannot be compared");
    try (GgufModel gguf = GgufModel.openFile(folder.resolve("base.gguf")); ModelVersion base = Checkpoints.open(folder.resolve("hf/base"))) {
      Map<String, float[]> checkpoint = values(base);
      Layout layout = assertInstanceOf(Layout.class, Layouts.of(gguf, checkpoint.keySet()));
      assertEquals(checkpoint.keySet(), layout.sources().keySet());
      assertEquals(family.equals("llama3") ? Set.of("rope_freqs.weight") : Set.of(), layout.generated());

      Map<String, float[]> stored = values(gguf);
      stored.keySet().removeAll(layout.generated());
      Map<String, Shape> shapes = new LinkedHashMap<>();
      gguf.tensors().forEach(tensor -> shapes.put(tensor.name(), tensor.shape()));
      Map<String, float[]> converted = Matrices.convert(layout, shapes, checkpoint);
      assertEquals(stored.keySet(), converted.keySet());
      converted.forEach((name, values) -> assertArrayEquals(stored.get(name), values, name));

      Matrices.convertBack(layout, stored).forEach((name, values) -> {
        float[] expected = checkpoint.get(name);
        for (int i = 0; i < values.length; i++) {
          // The norm's shift is taken back in float32, where the last bits may be lost that bfloat16 does not have.
          assertEquals(expected[i], bfloat16(values[i]), name);
        }
      });
      assertEquals(layout.sources(), ofCheckpoint(base, layout));
    }
  }

  private static Map<String, Shape> ofCheckpoint(ModelVersion base, Layout layout) {
    Map<String, Shape> shapes = new LinkedHashMap<>();
    base.tensors().forEach(tensor -> shapes.put(tensor.name(), tensor.shape()));
    Hyperparameters read = CheckpointConfig.hyperparameters(base.config());
    Layout foretold = assertInstanceOf(Layout.class, Layouts.ofCheckpoint(read, shapes));
    Map<String, Shape> sources = new TreeMap<>(foretold.sources());
    layout.cut().forEach(name -> sources.computeIfPresent(name, (cut, shape) -> shape.withRows(layout.sources().get(name).rows())));
    return sources;
  }

  private static float bfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff_0000);
  }

  private static Map<String, float[]> values(ModelVersion model) throws IOException {
    Map<String, float[]> values = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes())).order(ByteOrder.LITTLE_ENDIAN);
      model.read(tensor, 0, bytes);
      float[] floats = new float[Math.toIntExact(tensor.elements())];
      for (int i = 0; i < floats.length; i++) {
        floats[i] = tensor.dtype() == DType.BF16 ? Float.intBitsToFloat(bytes.getShort(2 * i) << 16) : bytes.getFloat(4 * i);
      }
      values.put(tensor.name(), floats);
    }
    return values;
  }
}
