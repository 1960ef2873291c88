package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.internal.adapter.AdapterConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * IA³ (arXiv 2205.05638): the outputs of a module, bias included, or the inputs of a feed-forward module, multiplied by {@code ia3_l}.
 */
final class Ia3Kind extends SizedByBase {
  private static final List<String> PARTS = List.of("ia3_l");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException {
    Tensor numbers = module.get("ia3_l");
    Shape shape = numbers.info().shape();
    if (shape.rank() < 2 || shape.elements() == 0 || shape.elements() != Math.max(shape.rows(), shape.dimension(1))) {
      throw module.shape("ia3_l must be out x 1 or 1 x in but is " + shape);
    }
    boolean convolution = shape.rank() > 2;
    // Vectors of convolutions are 1 x n for outputs and inputs alike.
    boolean inputs = convolution ? isFeedForward(tensors.config(), module.path()) : shape.rows() == 1;
    return new Numbered(numbers, inputs, !convolution && tensors.config().fanInFanOut());
  }

  private static boolean isFeedForward(AdapterConfig config, String module) throws IOException {
    if (config.isText("feedforward_modules")) {
      throw config.malformed("AD-CONFIG", "feedforward_modules must list modules where convolutions are adapted, but is a pattern");
    }
    return config.texts("feedforward_modules").stream().anyMatch(module::endsWith);
  }

  private record Numbered(Tensor numbers, boolean inputs, boolean transposed) implements Factory {
    @Override
    public String expected() {
      return numbers.info().elements() + (inputs ? " inputs" : " outputs");
    }

    @Override
    public boolean fits(Shape weight) {
      return numbers.info().elements() == weight.dimension(rowwise() ? 0 : 1);
    }

    private boolean rowwise() {
      return inputs == transposed;
    }

    @Override
    public RowChange change(Shape weight) {
      return new Scaling(weight, numbers, rowwise());
    }

    @Override
    public Optional<RowChange> biasChange(Shape weight, Shape bias) {
      return inputs || bias.elements() != numbers.info().elements() ? Optional.empty() : Optional.of(new Scaling(bias, numbers, true));
    }
  }
}
