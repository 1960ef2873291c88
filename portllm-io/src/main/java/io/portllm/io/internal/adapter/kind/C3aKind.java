package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** C3A (arXiv 2407.19342): blocks that are circulant matrices, each told by its first row, divided by the number of columns. */
final class C3aKind implements AdapterKind {
  @Override
  public List<String> parts() {
    return List.of("c3a_kernel");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor kernel = module.get("c3a_kernel");
      Shape shape = kernel.info().shape();
      int block = tensors.config().count("block_size", "block_size_pattern", module.path());
      if (shape.rank() != 3 || shape.dimension(2) != block || shape.elements() == 0) {
        throw module.shape("c3a_kernel must be blocks x blocks x " + block + " but is " + shape);
      }
      deltas.put(module.weight(), new Delta.Computed(new Circulant(kernel), Optional.empty()));
    }
    return deltas;
  }

  private static final class Circulant extends AdditiveChange {
    private final Tensor kernel;
    private final int block;

    Circulant(Tensor kernel) {
      super(Shape.of(kernel.info().shape().rows() * kernel.info().shape().dimension(2), kernel.info().shape().columns()), kernel);
      this.kernel = kernel;
      this.block = Math.toIntExact(kernel.info().shape().dimension(2));
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      int columns = columns();
      float[] first = new float[columns];
      for (int row = 0; row < rows; row++) {
        Numbers.read(kernel, (fromRow + row) / block * columns, columns, first);
        int turn = (int) ((fromRow + row) % block);
        for (int i = 0; i < columns; i++) {
          int inBlock = i % block;
          target[row * columns + i] = first[i - inBlock + (inBlock - turn + block) % block] / columns;
        }
      }
    }
  }
}
