package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaModelTest {
  /**
   * {@code logits.json} was not made in float64: transformers in float64 and in float32 are both 0.0028 to 0.0041 away from it
   * (0.05 to 0.17 in bfloat16), over logits from -10 to 15.
   */
  private static final double LAB_TOLERANCE = 5e-3;

  /** Float32 sums of up to 352 terms, four layers deep: 8e-6 was seen. */
  private static final double FLOAT64_TOLERANCE = 5e-5;

  @TempDir
  private Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"v1", "v2", "v3", "independent"})
  void bundledBasesGiveTheLabsLogits(String base) throws IOException {
    JsonNode lab = Fixtures.json("logits.json");
    try (ModelVersion model = Fixtures.openBundled(base, folder)) {
      float[] logits = LlamaModel.read(model).logits(Fixtures.ids(lab.path("ids")));
      assertClose(lab.path("last_logits").path(base), logits, LAB_TOLERANCE);
      assertClose(Fixtures.json("float64-logits.json").path(base), logits, FLOAT64_TOLERANCE);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-f16", "tiny-f32"})
  void otherTypesAndSettingsGiveTheReferenceLogits(String name) throws IOException {
    JsonNode reference = Fixtures.json(name + "/float64-logits.json");
    try (ModelVersion model = Fixtures.openTiny(name)) {
      float[] logits = LlamaModel.read(model).logits(Fixtures.ids(reference.path("ids")));
      assertClose(reference.path("logits"), logits, FLOAT64_TOLERANCE);
    }
  }

  @Test
  void completionAddsTheLikeliestTokenEachTime() throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      LlamaModel llama = LlamaModel.read(Altered.config(Altered.config(model, "eos_token_id.0", ""), "eos_token_id.1", ""));
      int[] text = {3, 1, 4};
      for (int i = 0; i < 9; i++) {
        float[] logits = llama.logits(text);
        int best = 0;
        for (int id = 0; id < logits.length; id++) {
          best = logits[id] > logits[best] ? id : best;
        }
        text = Arrays.copyOf(text, text.length + 1);
        text[text.length - 1] = best;
      }
      assertArrayEquals(Arrays.copyOfRange(text, 3, 12), llama.complete(new int[] {3, 1, 4}, 9));
    }
  }

  @Test
  void completionStopsBeforeAnEndToken() throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      int[] text = LlamaModel.read(model).complete(new int[] {3, 1, 4}, 6);
      int end = text[text.length - 1];
      int first = Arrays.stream(text).boxed().toList().indexOf(end);
      LlamaModel ended = LlamaModel.read(Altered.config(model, "eos_token_id.0", Integer.toString(end)));
      assertArrayEquals(Arrays.copyOf(text, first), ended.complete(new int[] {3, 1, 4}, 6));
    }
  }

  @Test
  void textsLongerThanThePositionsAreRefused() throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      LlamaModel llama = LlamaModel.read(model);
      assertEquals(20, llama.logits(new int[32]).length);
      Exception refusal = assertThrows(IllegalArgumentException.class, () -> llama.logits(new int[33]));
      assertEquals("text must have at most 32 tokens but has 33", refusal.getMessage());
      assertThrows(IllegalArgumentException.class, () -> llama.complete(new int[30], 4));
    }
  }

  @Test
  void tokensOutsideTheVocabularyAreRefused() throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      LlamaModel llama = LlamaModel.read(model);
      Exception refusal = assertThrows(IllegalArgumentException.class, () -> llama.logits(20));
      assertEquals("token must be 0 to 19 but was 20", refusal.getMessage());
      assertThrows(IllegalArgumentException.class, llama::logits);
    }
  }

  @ParameterizedTest
  @CsvSource(quoteCharacter = '"', value = {
    "model_type,                 mistral, config model_type must be 'llama' but was 'mistral'",
    "hidden_act,                 gelu,    config hidden_act must be 'silu' but was 'gelu'",
    "attention_bias,             true,    config attention_bias must be 'false' but was 'true'",
    "rope_parameters.rope_type,  llama3,  config rope_parameters.rope_type must be 'default' but was 'llama3'",
    "rope_scaling.type,          linear,  config rope_scaling.type must be 'default' but was 'linear'",
    "hidden_size,                0,       config hidden_size must be a positive integer but was '0'",
    "num_key_value_heads,        3,       \"config num_key_value_heads must be a divisor of num_attention_heads, 4 but was 3\"",
    "head_dim,                   5,       config head_dim must be even but was 5",
    "rms_norm_eps,               small,   config rms_norm_eps must be a positive number but was 'small'",
  })
  void otherArchitecturesAndSettingsAreRefused(String key, String value, String message) throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      ModelVersion altered = Altered.config(model, key, value);
      Exception refusal = assertThrows(IllegalArgumentException.class, () -> LlamaModel.read(altered));
      assertEquals("[altered] " + message, refusal.getMessage());
    }
  }

  @Test
  void tensorsThatDoNotFitAreRefused() throws IOException {
    try (ModelVersion model = Fixtures.openTiny("tiny-f32")) {
      String norm = "model.norm.weight";
      List<TensorInfo> others = new ArrayList<>(model.tensors());
      others.removeIf(info -> info.name().equals(norm));
      assertRefused("tensor 'model.norm.weight': must be there but is not", model, others);

      List<TensorInfo> wider = new ArrayList<>(others);
      wider.add(new TensorInfo(norm, DType.F32, Shape.of(17)));
      assertRefused("tensor 'model.norm.weight': shape must be [16] but was [17]", model, wider);

      List<TensorInfo> integers = new ArrayList<>(others);
      integers.add(new TensorInfo(norm, DType.I32, Shape.of(16)));
      assertRefused("tensor 'model.norm.weight': type must be F32, F16 or BF16 but was I32", model, integers);

      List<TensorInfo> more = new ArrayList<>(model.tensors());
      more.add(new TensorInfo("model.layers.0.self_attn.q_proj.bias", DType.F32, Shape.of(16)));
      assertRefused("tensor 'model.layers.0.self_attn.q_proj.bias': is none that a plain Llama has", model, more);
    }
  }

  @Test
  void halfPrecisionIsWidenedExactly() {
    short[] bits = {0x3c00, (short) 0xc000, 0x7bff, 0x0400, 0x03ff, 0x0001, (short) 0x8000, 0x7c00, (short) 0xfc00};
    ByteBuffer bytes = ByteBuffer.allocate(2 * bits.length + 2).order(ByteOrder.LITTLE_ENDIAN);
    for (short value : bits) {
      bytes.putShort(value);
    }
    bytes.putShort((short) 0x7e00).flip();
    float[] values = LlamaWeights.widen(bytes, DType.F16, bits.length + 1);
    assertArrayEquals(
        new float[] {
          1, -2, 65504, 0x1p-14f, 0x1.ff8p-15f, 0x1p-24f, -0f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.NaN
        },
        values);
  }

  private static void assertRefused(String message, ModelVersion model, List<TensorInfo> tensors) {
    ModelVersion altered = Altered.tensors(model, tensors);
    Exception refusal = assertThrows(IllegalArgumentException.class, () -> LlamaModel.read(altered));
    assertEquals("[altered] " + message, refusal.getMessage());
  }

  private static void assertClose(JsonNode expected, float[] logits, double tolerance) {
    assertEquals(expected.size(), logits.length);
    assertTrue(logits.length > 0);
    for (int i = 0; i < logits.length; i++) {
      assertEquals(expected.get(i).doubleValue(), logits[i], tolerance, "logit " + i);
    }
  }
}
