package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** LoKr (LyCORIS, arXiv 2309.14859): {@code alpha / r · w1 ⊗ w2}, each stored whole or as two factors, w2 of convolutions also in the CP form. */
final class LokrKind implements AdapterKind {
  private static final List<String> PARTS =
      List.of("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    Kept kept = new Kept();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      long rank = tensors.config().rank(module.path());
      double scale = tensors.config().number("alpha", "alpha_pattern", module.path()) / rank;
      Matrix one = module.has("lokr_w1") ? Matrix.stored(module.matrix("lokr_w1")) : product(module, "lokr_w1", rank, kept);
      Matrix two = second(module, rank, kept);
      Shape shape = shape(module, one, two);
      deltas.put(
          module.weight(), new Delta.Computed(new Kronecker(base.shapeOf(module.weight(), shape), one, two, scale), Optional.empty()));
    }
    return deltas;
  }

  private static Matrix second(AdapterTensors.Module module, long rank, Kept kept) throws IOException {
    if (module.has("lokr_w2")) {
      Shape shape = module.get("lokr_w2").info().shape();
      // The Kronecker product of a matrix and a block of three dimensions is no weight of a convolution.
      if (shape.rank() != 2 && shape.rank() != 4 || shape.elements() == 0) {
        throw module.shape("lokr_w2 must have 2 or 4 dimensions but is " + shape);
      }
      return Matrix.stored(module.get("lokr_w2"));
    }
    if (module.has("lokr_t2")) {
      Tensor a = module.matrixOfRows("lokr_w2_a", rank);
      Tensor b = module.matrixOfRows("lokr_w2_b", rank);
      return Matrix.convolution(LohaKind.core(module, "lokr_t2", rank), a, b, kept);
    }
    return product(module, "lokr_w2", rank, kept);
  }

  private static Matrix product(AdapterTensors.Module module, String name, long rank, Kept kept) throws IOException {
    return Matrix.product(module.matrixOfColumns(name + "_a", rank), module.matrixOfRows(name + "_b", rank), kept);
  }

  private static Shape shape(AdapterTensors.Module module, Matrix one, Matrix two) {
    long rows = Math.multiplyExact(one.rows(), two.rows());
    long columns = Math.multiplyExact((long) one.columns(), (long) two.columns());
    Optional<Shape> kernel = module.find("lokr_w2").map(tensor -> tensor.info().shape()).filter(shape -> shape.rank() == 4);
    return kernel.isPresent()
        ? Shape.of(rows, one.columns() * kernel.get().dimension(1), kernel.get().dimension(2), kernel.get().dimension(3))
        : LohaKind.convolution(module, "lokr_t2", rows, columns);
  }
}
