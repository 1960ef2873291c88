package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** LoHa (FedPara, arXiv 2108.06098): {@code alpha / r · (w1_a·w1_b) ∘ (w2_a·w2_b)}, of convolutions also in the CP form. */
final class LohaKind implements AdapterKind {
  private static final List<String> PARTS = List.of("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2");

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
      Matrix one = matrix(module, "hada_w1", "hada_t1", rank, kept);
      Matrix other = matrix(module, "hada_w2", "hada_t2", rank, kept);
      if (one.rows() != other.rows() || one.columns() != other.columns()) {
        throw module.shape("the factors make " + one.rows() + " x " + one.columns() + " and " + other.rows() + " x " + other.columns() + " weights");
      }
      Shape shape = base.shapeOf(module.weight(), convolution(module, "hada_t1", one.rows(), one.columns()));
      deltas.put(module.weight(), new Delta.Computed(new Hadamard(shape, one, other, scale), Optional.empty()));
    }
    return deltas;
  }

  private static Matrix matrix(AdapterTensors.Module module, String name, String core, long rank, Kept kept) throws IOException {
    Tensor b = module.matrixOfRows(name + "_b", rank);
    return module.has(core)
        ? Matrix.convolution(core(module, core, rank), module.matrixOfRows(name + "_a", rank), b, kept)
        : Matrix.product(module.matrixOfColumns(name + "_a", rank), b, kept);
  }

  /** The core of a CP form: rank × rank × kernel. */
  static Tensor core(AdapterTensors.Module module, String part, long rank) throws IOException {
    Tensor core = module.get(part);
    Shape shape = core.info().shape();
    if (shape.rank() != 4 || shape.dimension(0) != rank || shape.dimension(1) != rank || shape.elements() == 0) {
      throw module.shape(part + " must be " + rank + " x " + rank + " x kernel but is " + shape);
    }
    return core;
  }

  /** The shape of a weight of {@code rows} × {@code columns} elements: of a two-dimensional convolution, if it has a core. */
  static Shape convolution(AdapterTensors.Module module, String core, long rows, long columns) {
    return module.find(core)
        .map(tensor -> tensor.info().shape())
        .map(kernel -> Shape.of(rows, columns / kernel.dimension(2) / kernel.dimension(3), kernel.dimension(2), kernel.dimension(3)))
        .orElse(Shape.of(rows, columns));
  }
}
