package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * MiSS (arXiv 2409.15371): one row of r numbers for each output, repeated along the inputs; in the mini form outputs share them too. A low-rank
 * change whose right factor is a pattern of ones.
 */
final class MissKind implements AdapterKind {
  private static final String BLOCK = "miss_block";

  @Override
  public List<String> parts() {
    return List.of(BLOCK);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) throws IOException {
    String form = tensors.config().text("init_weights", "true");
    if (form.equals("bat")) {
      throw tensors.config().malformed(
          "AD-TYPE", "is an adapter of kind MISS in the form " + Names.quote(form) + ", which depends on the weights and is not read");
    }
    return Optional.of("is changed by MiSS, and only the base tells how many columns it has");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    boolean mini = tensors.config().text("init_weights", "true").equals("mini");
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor block = module.matrix(BLOCK);
      long rank = block.info().shape().rows();
      long stored = block.info().shape().columns();
      Shape weight = base.shape(module.weight());
      long out = mini ? weight.rows() : stored;
      if (mini && (stored != tensors.config().count("mini_r") || out % stored != 0)) {
        throw module.shape(BLOCK + " is " + block.info().shape() + ", which mini_r outputs do not share among the " + out + " of the base");
      }
      Tensor b = ComputedTensor.of(BLOCK, new Turned(block, out));
      Tensor a = ComputedTensor.of("pattern", new Pattern(rank, weight.columns()));
      deltas.put(module.weight(), LowRank.of(b, a, 1, false));
    }
    return deltas;
  }

  /** The transpose of a matrix, its rows repeated from the first on until there are enough. */
  private static final class Turned extends AdditiveChange {
    private final Tensor matrix;

    Turned(Tensor matrix, long rows) {
      super(Shape.of(rows, matrix.info().shape().rows()), matrix);
      this.matrix = matrix;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      int columns = columns();
      int stored = Math.toIntExact(matrix.info().shape().columns());
      float[] row = new float[stored];
      for (int column = 0; column < columns; column++) {
        Numbers.read(matrix, (long) column * stored, stored, row);
        for (int i = 0; i < rows; i++) {
          target[i * columns + column] = row[(int) ((fromRow + i) % stored)];
        }
      }
    }
  }

  /** Ones where the column is the row or the row plus a multiple of the number of rows; zeros elsewhere. */
  private static final class Pattern extends AdditiveChange {
    Pattern(long rows, long columns) {
      super(Shape.of(rows, columns));
    }

    @Override
    void compute(long fromRow, int rows, float[] target) {
      int columns = columns();
      for (int i = 0; i < rows * columns; i++) {
        target[i] = i % columns % shape().rows() == fromRow + i / columns ? 1 : 0;
      }
    }
  }
}
