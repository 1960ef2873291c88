package io.portllm.io.internal.adapter.kind;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** SHiRA (arXiv 2406.13175): numbers that are added to single weights, whose rows and columns are stored. */
final class ShiraKind implements AdapterKind {
  private static final String VALUES = "shira_weight";
  private static final String INDICES = "shira_indices";

  /** Indices read at a time. */
  private static final int BLOCK = 8 << 10;

  @Override
  public List<String> parts() {
    return List.of(VALUES, INDICES);
  }

  @Override
  public List<String> indices() {
    return List.of(INDICES);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by SHiRA, and only the base tells its shape");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor values = module.vector(VALUES);
      long count = values.info().shape().elements();
      Tensor indices = module.get(INDICES, 2, count);
      DType type = indices.info().dtype();
      if (type != DType.I32 && type != DType.I64) {
        throw module.shape(INDICES + " must be I32 or I64 but is " + type);
      }
      Shape shape = base.shape(module.weight());
      deltas.put(module.weight(), new Delta.Computed(new Sparse(shape, values, indices, isSorted(module, indices, count, shape)), Optional.empty()));
    }
    return deltas;
  }

  /** Checks that all indices lie within {@code shape}, and says whether the rows come in order. */
  private static boolean isSorted(AdapterTensors.Module module, Tensor indices, long count, Shape shape) throws IOException {
    boolean sorted = true;
    long before = 0;
    for (long first = 0; first < 2 * count; first += BLOCK) {
      long[] block = read(indices, first, (int) Math.min(BLOCK, 2 * count - first));
      for (int i = 0; i < block.length; i++) {
        boolean isRow = first + i < count;
        long bound = isRow ? shape.rows() : shape.columns();
        if (block[i] < 0 || block[i] >= bound) {
          throw module.shape(INDICES + " has " + block[i] + " for a " + (isRow ? "row" : "column") + " of a weight that is " + shape + " in the base");
        }
        sorted &= !isRow || block[i] >= before;
        before = block[i];
      }
    }
    return sorted;
  }

  private static long[] read(Tensor indices, long first, int count) throws IOException {
    int size = indices.info().dtype().bytes();
    ByteBuffer bytes = ByteBuffer.allocate(count * size).order(ByteOrder.LITTLE_ENDIAN);
    indices.read(first * size, bytes);
    long[] values = new long[count];
    for (int i = 0; i < count; i++) {
      values[i] = size == 8 ? bytes.getLong(8 * i) : bytes.getInt(4 * i);
    }
    return values;
  }

  private static final class Sparse extends AdditiveChange {
    private final Tensor values;
    private final Tensor indices;
    private final boolean sorted;

    Sparse(Shape shape, Tensor values, Tensor indices, boolean sorted) {
      super(shape, values, indices);
      this.values = values;
      this.indices = indices;
      this.sorted = sorted;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      long count = values.info().elements();
      Arrays.fill(target, 0, rows * columns(), 0);
      long from = sorted ? firstFrom(fromRow, count) : 0;
      long to = sorted ? firstFrom(fromRow + rows, count) : count;
      float[] numbers = new float[BLOCK];
      for (long first = from; first < to; first += BLOCK) {
        int length = (int) Math.min(BLOCK, to - first);
        long[] row = read(indices, first, length);
        long[] column = read(indices, count + first, length);
        Numbers.read(values, first, length, numbers);
        for (int i = 0; i < length; i++) {
          if (row[i] >= fromRow && row[i] < fromRow + rows) {
            target[(int) ((row[i] - fromRow) * columns() + column[i])] += numbers[i];
          }
        }
      }
    }

    /** The first place whose row is {@code row} or a later one. */
    private long firstFrom(long row, long count) throws IOException {
      long low = 0;
      long high = count;
      while (low < high) {
        long middle = (low + high) >>> 1;
        if (read(indices, middle, 1)[0] < row) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      return low;
    }
  }
}
