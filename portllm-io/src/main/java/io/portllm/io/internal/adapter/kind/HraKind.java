package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;

/** HRA (arXiv 2405.17484): inputs reflected at the columns of {@code hra_u}. */
final class HraKind extends SizedByBase {
  private static final List<String> PARTS = List.of("hra_u");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException {
    Tensor vectors = module.get("hra_u");
    Shape shape = vectors.info().shape();
    if (shape.rank() != 2 || shape.elements() == 0) {
      throw module.shape("hra_u must be in x number of vectors but is " + shape);
    }
    return new Reflected(vectors, tensors.config().flag("apply_GS"), kept);
  }

  private record Reflected(Tensor vectors, boolean orthogonalised, Kept kept) implements Factory {
    @Override
    public String expected() {
      return vectors.info().shape().rows() + " inputs";
    }

    @Override
    public boolean fits(Shape weight) {
      return weight.columns() == vectors.info().shape().rows();
    }

    @Override
    public RowChange change(Shape weight) {
      return new Reflections(weight, vectors, orthogonalised, kept);
    }
  }
}
