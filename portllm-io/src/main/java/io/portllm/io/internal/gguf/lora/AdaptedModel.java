package io.portllm.io.internal.gguf.lora;

import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.layout.CheckpointConfig;
import io.portllm.io.internal.gguf.layout.GgufHyperparameters;
import io.portllm.io.internal.gguf.layout.Hyperparameters;
import io.portllm.io.internal.gguf.layout.Layout;
import io.portllm.io.internal.gguf.layout.Layouts;
import io.portllm.io.internal.gguf.layout.Mapping;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The model that an adapter is for, whether stored as GGUF or as Hugging Face stores it.
 *
 * @param name what messages call it
 * @param decoded the model as patches see it
 * @param architecture as GGUF names it
 * @param layout which tensors of its GGUF file, or of the one that it would be converted to, are which of {@code decoded}
 */
public record AdaptedModel(String name, ModelVersion decoded, String architecture, Layout layout) {
  /**
   * The model as an adapter needs it. Reads headers only.
   *
   * @throws IncompatibleModelException if it is not GGUF, and it is not known what it would be as GGUF
   */
  public static AdaptedModel of(ModelVersion stored) throws IOException {
    ModelVersion decoded = stored.decoded();
    if (stored instanceof GgufModel gguf) {
      String architecture = GgufHyperparameters.of(gguf.metadata()).architecture();
      Layout layout = Layouts.of(gguf, List.of()) instanceof Layout known ? known : Layout.asItIs(shapes(stored));
      return new AdaptedModel(stored.name(), decoded, architecture, layout);
    }
    Hyperparameters hyperparameters = CheckpointConfig.hyperparameters(decoded.config());
    Mapping mapping = Layouts.ofCheckpoint(hyperparameters, shapes(decoded));
    if (mapping instanceof Layout layout) {
      return new AdaptedModel(stored.name(), decoded, hyperparameters.architecture(), layout);
    }
    throw new IncompatibleModelException(
        Names.quote(stored.name()) + " cannot take a GGUF adapter",
        List.of(Mismatch.of("architectures", "the model " + ((Mapping.Unmapped) mapping).reason())));
  }

  private static Map<String, Shape> shapes(ModelVersion model) {
    Map<String, Shape> shapes = new LinkedHashMap<>();
    model.tensors().forEach(tensor -> shapes.put(tensor.name(), tensor.shape()));
    return shapes;
  }
}
