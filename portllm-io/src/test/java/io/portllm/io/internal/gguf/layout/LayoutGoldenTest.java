package io.portllm.io.internal.gguf.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.base.Splitter;
import com.google.common.hash.Hashing;
import io.portllm.Shape;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Layouts against what llama.cpp's converter made of tiny models whose elements are numbered: {@code tools/golden_gguf_layouts.py} made the
 * numbers' digests.
 */
class LayoutGoldenTest {
  /** One converted model of the golden file. */
  private record Model(
      String name, Map<String, String> config, Map<String, String> numbers, Map<String, Shape> checkpoint, Map<String, Shape> tensors,
      Map<String, String> digests) {
    Hyperparameters hyperparameters() {
      String architecture = numbers.get("general.architecture");
      return new Hyperparameters(architecture, counts(architecture + ".attention.head_count", "4"), counts(architecture + ".attention.head_count_kv",
          numbers.getOrDefault(architecture + ".attention.head_count", "4")));
    }

    private List<Long> counts(String key, String otherwise) {
      return Splitter.on(',').splitToStream(numbers.getOrDefault(key, otherwise)).map(Long::valueOf).toList();
    }

    /** The numbered elements of the checkpoint's tensors. */
    Map<String, float[]> elements() {
      Map<String, float[]> elements = new TreeMap<>();
      int next = 0;
      for (Map.Entry<String, Shape> tensor : checkpoint.entrySet()) {
        float[] values = new float[Math.toIntExact(tensor.getValue().elements())];
        for (int i = 0; i < values.length; i++) {
          values[i] = next++;
        }
        elements.put(tensor.getKey(), values);
      }
      return elements;
    }

    Layout layout() {
      return assertInstanceOf(Layout.class, Layouts.of(hyperparameters(), tensors, checkpoint.keySet()));
    }

    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Model> models() throws IOException {
    List<Model> models = new ArrayList<>();
    try (BufferedReader lines = new BufferedReader(new InputStreamReader(
        new GZIPInputStream(LayoutGoldenTest.class.getResourceAsStream("/golden/gguf-layouts.txt.gz")), StandardCharsets.UTF_8))) {
      lines.lines().map(Splitter.on(' ').limit(4)::splitToList).forEach(line -> add(models, line));
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return models.stream();
  }

  private static void add(List<Model> models, List<String> line) {
    if (line.get(0).equals("model")) {
      models.add(new Model(line.get(1), new TreeMap<>(), new TreeMap<>(), new LinkedHashMap<>(), new LinkedHashMap<>(), new TreeMap<>()));
      return;
    }
    Model model = models.get(models.size() - 1);
    switch (line.get(0)) {
      case "config" -> model.config.put(line.get(1), line.get(2));
      case "number" -> model.numbers.put(line.get(1), line.get(2));
      case "hf" -> model.checkpoint.put(line.get(1), shape(line.get(2)));
      case "gguf" -> {
        model.tensors.put(line.get(1), shape(line.get(2)));
        model.digests.put(line.get(1), line.get(3));
      }
      default -> throw new IllegalStateException(line.get(0));
    }
  }

  private static Shape shape(String dimensions) {
    return Shape.of(Splitter.on(',').splitToStream(dimensions).mapToLong(Long::parseLong).toArray());
  }

  @ParameterizedTest
  @MethodSource("models")
  void tensorsMadeByTheLayoutAreThoseOfTheConverter(Model model) {
    Map<String, String> digests = new TreeMap<>();
    Matrices.convert(model.layout(), model.tensors(), model.elements()).forEach((name, values) -> digests.put(name, digest(values)));
    assertEquals(model.digests(), digests);
  }

  private static String digest(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return Hashing.sha256().hashBytes(bytes.array()).toString().substring(0, 16);
  }

  @ParameterizedTest
  @MethodSource("models")
  void tensorsMadeBackAreThoseOfTheCheckpoint(Model model) {
    Layout layout = model.layout();
    Map<String, float[]> elements = model.elements();
    Map<String, float[]> back = Matrices.convertBack(layout, Matrices.convert(layout, model.tensors(), elements));
    back.forEach((name, values) -> assertEquals(0, Arrays.compare(values, 0, values.length, elements.get(name), 0, values.length), name));
    assertEquals(layout.sources().keySet(), back.keySet());
  }

  @ParameterizedTest
  @MethodSource("models")
  void everyTensorOfTheCheckpointIsASourceOrIgnored(Model model) {
    Layout layout = model.layout();
    Set<String> left = new HashSet<>();
    model.checkpoint().forEach((name, shape) -> {
      Shape kept = layout.sources().get(name);
      if (layout.cut().contains(name)) {
        assertTrue(kept.rows() <= shape.rows() && kept.equals(shape.withRows(kept.rows())), name);
      } else if (kept == null) {
        left.add(name);
      } else {
        assertEquals(shape, kept, name);
      }
    });
    assertEquals(model.name().equals("gemma3-multimodal") ? Set.of("vision_tower.vision_model.post_layernorm.weight") : Set.of(), left);
    assertTrue(left.stream().allMatch(layout::ignores));
    assertTrue(model.checkpoint().keySet().containsAll(layout.sources().keySet()));
  }

  @ParameterizedTest
  @MethodSource("models")
  void theCheckpointAloneTellsTheSameLayout(Model model) {
    Hyperparameters read = CheckpointConfig.hyperparameters(model.config());
    assertEquals(model.hyperparameters().architecture(), read.architecture());
    Layout foretold = assertInstanceOf(Layout.class, Layouts.ofCheckpoint(read, model.checkpoint()));
    Layout layout = model.layout();
    if (layout.cut().stream().noneMatch(layout.sources()::containsKey)) {
      assertEquals(new HashSet<>(layout.links()), new HashSet<>(foretold.links()));
      assertEquals(layout.sources(), foretold.sources());
    } else {
      assertEquals(layout.sources().keySet(), foretold.sources().keySet());
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void theUsualNamesAreTakenWhereNoneAreKnown(Model model) {
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(model.hyperparameters(), model.tensors(), List.of()));
    boolean unusual = Set.of("gemma3-multimodal", "gpt2-bare", "qwen3moe-fused", "falcon-two-norms").contains(model.name());
    assertEquals(model.name().equals("falcon-two-norms") || !unusual, layout.sources().keySet().equals(model.layout().sources().keySet()));
  }

  @Test
  void everyArchitectureIsProven() throws IOException {
    Set<String> proven = new HashSet<>();
    models().forEach(model -> proven.add(model.hyperparameters().architecture()));
    assertEquals(new HashSet<>(Layouts.architectures()), proven);
  }
}
