package io.portllm.io.internal.gguf.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Shape;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Layouts against what llama.cpp's converter made of tiny models whose elements are numbered: {@code tools/golden_gguf_layouts.py} made the
 * numbers' digests.
 */
class LayoutGoldenTest {
  static Stream<ConvertedModel> models() throws IOException {
    return ConvertedModel.all().stream();
  }

  @ParameterizedTest
  @MethodSource("models")
  void tensorsMadeByTheLayoutAreThoseOfTheConverter(ConvertedModel model) {
    Map<String, String> digests = new TreeMap<>();
    Matrices.convert(model.layout(), model.tensors(), model.elements()).forEach((name, values) -> digests.put(name, ConvertedModel.digest(values)));
    assertEquals(model.digests(), digests);
  }

  @ParameterizedTest
  @MethodSource("models")
  void tensorsMadeBackAreThoseOfTheCheckpoint(ConvertedModel model) {
    Layout layout = model.layout();
    Map<String, float[]> elements = model.elements();
    Map<String, float[]> back = Matrices.convertBack(layout, Matrices.convert(layout, model.tensors(), elements));
    back.forEach((name, values) -> assertEquals(0, Arrays.compare(values, 0, values.length, elements.get(name), 0, values.length), name));
    assertEquals(layout.sources().keySet(), back.keySet());
  }

  @ParameterizedTest
  @MethodSource("models")
  void everyTensorOfTheCheckpointIsASourceOrIgnored(ConvertedModel model) {
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
  void theCheckpointAloneTellsTheSameLayout(ConvertedModel model) {
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
  void theUsualNamesAreTakenWhereNoneAreKnown(ConvertedModel model) {
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
