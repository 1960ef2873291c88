package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * MiSS (arXiv 2409.15371): one row of r numbers for each output, repeated along the inputs; in the mini form outputs share them too. A low-rank
 * change whose right factor is a pattern of ones. The bat form depends on the weights.
 */
final class MissKind implements AdapterKind {
  private static final String BLOCK = "miss_block";

  @Override
  public List<String> parts() {
    return List.of(BLOCK);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by MiSS, and only the base tells how many columns it has");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    String form = tensors.config().text("init_weights", "true");
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Shape weight = base.shape(module.weight());
      deltas.put(module.weight(), form.equals("bat") ? bat(module, weight) : repeated(tensors, module, weight, form.equals("mini")));
    }
    return deltas;
  }

  private static Delta repeated(AdapterTensors tensors, AdapterTensors.Module module, Shape weight, boolean mini) throws IOException {
    Tensor block = module.matrix(BLOCK);
    long rank = block.info().shape().rows();
    long stored = block.info().shape().columns();
    long out = mini ? weight.rows() : stored;
    if (mini && (stored != tensors.config().count("mini_r") || out % stored != 0)) {
      throw module.shape(BLOCK + " is " + block.info().shape() + ", which mini_r outputs do not share among the " + out + " of the base");
    }
    Tensor b = ComputedTensor.of(BLOCK, new Turned(block, out));
    Tensor a = ComputedTensor.of("pattern", new Pattern(rank, weight.columns()));
    return LowRank.of(b, a, 1, false);
  }

  private static Delta bat(AdapterTensors.Module module, Shape weight) throws IOException {
    Tensor blocks = module.get(BLOCK);
    Shape shape = blocks.info().shape();
    if (shape.rank() != 3 || shape.elements() == 0 || shape.dimension(1) != shape.dimension(2)) {
      throw module.shape(BLOCK + " must be blocks x r x r but is " + shape);
    }
    long rank = shape.dimension(1);
    if (weight.rank() != 2 || weight.rows() != shape.rows() * rank || weight.columns() % rank != 0) {
      throw module.shape(BLOCK + " is " + shape + ", but the weight is " + weight + " in the base");
    }
    return new Delta.Computed(new Bat(weight, blocks), Optional.empty());
  }

  /** The bat form: each r × r part W of the weight changes by {@code W·M + M}, with a square M for each r outputs. */
  private static final class Bat extends WeightChange {
    private final Tensor blocks;

    Bat(Shape shape, Tensor blocks) {
      super(shape, blocks);
      this.blocks = blocks;
    }

    @Override
    void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
      int rank = Math.toIntExact(blocks.info().shape().dimension(1));
      float[] block = new float[rank * rank];
      double[] sums = new double[rank];
      for (int row = 0; row < rows; row++) {
        Numbers.read(blocks, (fromRow + row) / rank * block.length, block.length, block);
        int inBlock = (int) ((fromRow + row) % rank);
        for (int start = row * columns(); start < (row + 1) * columns(); start += rank) {
          for (int i = 0; i < rank; i++) {
            sums[i] = block[inBlock * rank + i];
          }
          for (int k = 0; k < rank; k++) {
            for (int i = 0; i < rank; i++) {
              sums[i] += (double) values[start + k] * block[k * rank + i];
            }
          }
          for (int i = 0; i < rank; i++) {
            values[start + i] = (float) sums[i];
          }
        }
      }
    }
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
