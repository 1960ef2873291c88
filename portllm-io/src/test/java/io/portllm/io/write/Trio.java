package io.portllm.io.write;

import io.portllm.DType;
import io.portllm.Shape;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A small base, its fine-tune and its next release. Fine-tuning leaves the layer norms as they are.
 *
 * @param base the base
 * @param fineTuned the base with small changes
 * @param newBase the base with other small changes
 */
public record Trio(TestModel base, TestModel fineTuned, TestModel newBase) {
  private static final Map<String, Shape> SHAPES = shapes();

  private static Map<String, Shape> shapes() {
    Map<String, Shape> shapes = new LinkedHashMap<>();
    shapes.put("model.embed_tokens.weight", Shape.of(48, 16));
    for (int layer = 0; layer < 2; layer++) {
      String start = "model.layers." + layer + ".";
      shapes.put(start + "input_layernorm.weight", Shape.of(16));
      shapes.put(start + "self_attn.q_proj.weight", Shape.of(16, 16));
      shapes.put(start + "self_attn.q_proj.bias", Shape.of(16));
      shapes.put(start + "mlp.up_proj.weight", Shape.of(24, 16));
    }
    shapes.put("model.norm.weight", Shape.of(16));
    shapes.put("lm_head.weight", Shape.of(48, 16));
    return shapes;
  }

  /** Three models of one type. */
  public static Trio of(DType type) {
    return new Trio(model("base", type, 0, false), model("tuned", type, 1, true), model("newer", type, 2, false));
  }

  private static TestModel model(String name, DType type, int version, boolean keepsNorms) {
    TestModel model = new TestModel(name).config("tie_word_embeddings", "false").config("model_type", "\"llama\"");
    Random old = new Random(7);
    Random change = new Random(version);
    SHAPES.forEach(
        (tensor, shape) -> {
          double[] values = new double[(int) shape.elements()];
          boolean kept = version == 0 || keepsNorms && tensor.endsWith("layernorm.weight");
          for (int i = 0; i < values.length; i++) {
            values[i] = old.nextGaussian() + (kept ? 0 : 0.05 * change.nextGaussian());
          }
          model.tensor(tensor, type, TestModel.encode(type, values), shape.toArray());
        });
    return model.side("tokenizer.json", "{\"of\": \"" + name + "\"}");
  }

  /** The names of the tensors, as they are stored. */
  public static List<String> names() {
    return List.copyOf(SHAPES.keySet());
  }
}
