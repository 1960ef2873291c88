package io.portllm.io.internal.gguf.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.io.ExportOptions;
import io.portllm.io.GgufAdapter;
import io.portllm.io.GgufExport;
import io.portllm.io.internal.gguf.layout.ConvertedModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Adapters of numbered factors against what llama.cpp's {@code convert_lora_to_gguf.py} made of them. */
class LoraGoldenTest {
  private static final double SCALE = 2;

  @TempDir
  Path scratch;

  static Stream<ConvertedModel> models() throws IOException {
    return ConvertedModel.all().stream();
  }

  static Stream<ConvertedModel> adapted() throws IOException {
    return models().filter(model -> !model.factors().isEmpty());
  }

  /** What PEFT reads of the adapter that was converted: its tensors in the order of their names, A before B. */
  private static Patch patch(ConvertedModel model) {
    Map<String, Delta> deltas = new LinkedHashMap<>();
    int next = 0;
    for (Map.Entry<String, Shape> tensor : model.checkpoint().entrySet()) {
      String name = tensor.getKey();
      Shape shape = tensor.getValue();
      boolean embedding = name.matches(".*(embed_tokens|wte|wpe|word_embeddings|embed_in|tok_embeddings)\\.weight");
      if (!name.endsWith(".weight") || shape.rank() != 2 || embedding && !model.name().equals("llama")) {
        continue;
      }
      boolean conv1d = model.name().startsWith("gpt2");
      boolean transposed = embedding || conv1d;
      Tensor a = numbers("a", next, Shape.of(ConvertedModel.RANK, transposed ? shape.rows() : shape.columns()));
      next += (int) a.info().elements();
      Tensor b = numbers("b", next, Shape.of(transposed ? shape.columns() : shape.rows(), ConvertedModel.RANK));
      next += (int) b.info().elements();

      deltas.put(name, new Delta.LowRank(b, a, SCALE, transposed, shape));

    }
    return Patch.of(deltas, Optional.empty(), "numbered");
  }

  private static Tensor numbers(String name, int first, Shape shape) {
    return OneTensor.of(name, shape, ConvertedModel.numbers(first, shape));
  }

  @ParameterizedTest
  @MethodSource("adapted")
  void exportedFactorsAreTheConverters(ConvertedModel model) throws IOException {
    LoraExport export = LoraExport.of(patch(model), ExportOptions.defaults().onto(new Checkpoint(model.config(), model.checkpoint())));
    Map<String, Shape> shapes = new TreeMap<>();
    Map<String, String> digests = new TreeMap<>();
    for (TensorInfo tensor : export.tensors()) {
      shapes.put(tensor.name(), tensor.shape());
      digests.put(tensor.name(), ConvertedModel.digest(FactorRows.values(new Tensor(export, tensor))));
    }
    assertEquals(new TreeMap<>(model.factors()), shapes);
    assertEquals(model.factorDigests(), digests);
  }

  @ParameterizedTest
  @MethodSource("models")
  void whatIsExportedIsReadBack(ConvertedModel model) throws IOException {
    Patch patch = patch(model);
    Map<String, String> leftOut = new TreeMap<>();
    Checkpoint base = new Checkpoint(model.config(), model.checkpoint());
    Path file = scratch.resolve("adapter.gguf");
    GgufExport.write(patch, file,
        ExportOptions.defaults().onto(base).leavingOut(mismatch -> leftOut.put(mismatch.tensor(), mismatch.message())));
    try (GgufAdapter adapter = GgufAdapter.open(file)) {
      Map<String, Delta> read = adapter.patchFor(base).deltas();
      assertEquals(patch.deltas().size() - leftOut.size(), read.size());
      for (Map.Entry<String, Delta> entry : read.entrySet()) {
        assertArrayEquals(values(patch.deltas().get(entry.getKey())), values(entry.getValue()), entry.getKey());
      }
    }
    assertTrue(leftOut.values().stream().allMatch("is no matrix, and llama.cpp adds to nothing else"::equals), leftOut.toString());
    assertEquals(model.name().equals("command-r-head-norms"), !leftOut.isEmpty());
  }

  private static float[] values(Delta delta) throws IOException {
    float[] values = new float[Math.toIntExact(delta.shape().elements())];
    new RowEvaluator(delta).read(0, (int) delta.shape().rows(), values);
    return values;
  }
}
