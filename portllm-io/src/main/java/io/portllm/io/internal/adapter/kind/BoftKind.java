package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/**
 * BOFT (arXiv 2311.06243): inputs rotated by several block-diagonal matrices in {@code boft_R}, and outputs multiplied by {@code boft_s}. How
 * many matrices there are is read from the tensor: PEFT makes one where its CUDA extension is missing, whatever the configuration says.
 */
final class BoftKind extends SizedByBase {
  private static final List<String> PARTS = List.of("boft_R", "boft_s");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException {
    Tensor blocks = module.get("boft_R");
    Tensor scales = module.get("boft_s");
    Shape shape = blocks.info().shape();
    if (shape.rank() != 4 || shape.elements() == 0 || shape.dimension(2) != shape.dimension(3)) {
      throw module.shape("boft_R must be factors x blocks x side x side but is " + shape);
    }
    long factors = shape.dimension(0);
    long side = shape.dimension(2);
    if (factors > 31 || factors > 1 && (side % 2 != 0 || shape.dimension(1) % (1L << (factors - 1)) != 0)) {
      throw module.shape("a butterfly of " + factors + " factors needs sides divisible by 2 and blocks by " + (1L << (factors - 1)) + ": " + shape);
    }
    if (side > Short.MAX_VALUE) {
      throw module.shape("blocks must be at most " + Short.MAX_VALUE + " wide but boft_R is " + shape);
    }
    if (tensors.config().fanInFanOut()) {
      throw tensors.config().malformed("AD-TYPE", "is BOFT on weights stored in x out (fan_in_fan_out), which PEFT does not merge");
    }
    return new Rotated(blocks, scales, kept);
  }

  private record Rotated(Tensor blocks, Tensor scales, Kept kept) implements Factory {
    private long inputs() {
      return blocks.info().shape().dimension(1) * blocks.info().shape().dimension(2);
    }

    @Override
    public String expected() {
      return inputs() + " inputs and " + scales.info().elements() + " outputs";
    }

    @Override
    public boolean fits(Shape weight) {
      return weight.columns() == inputs() && weight.rows() == scales.info().elements();
    }

    @Override
    public RowChange change(Shape weight) {
      return new Butterfly(weight, blocks, scales, kept);
    }
  }
}
