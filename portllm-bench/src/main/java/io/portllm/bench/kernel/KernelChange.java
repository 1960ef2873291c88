package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** The kinds of changes whose kernels are timed. */
public enum KernelChange {
  /** What a port of full weights does: newBase + (tuned − base). */
  DIFFERENCE("w + (ft − base)"),
  /** The same with a factor. */
  SCALED_DIFFERENCE("w + 0.7 (ft − base)"),
  /** Stored changes of the weights' type. */
  DENSE("w + d"),
  /** The same with a factor. */
  SCALED("w + 0.7 d"),
  /** Low rank. */
  RANK_8("w + 2 B A, r = 8"),
  /** Low rank. */
  RANK_16("w + 2 B A, r = 16"),
  /** Low rank. */
  RANK_64("w + 2 B A, r = 64"),
  /** Every eighth row changes. */
  ROWS("one row in eight"),
  /** Every tenth weight changes, in the patch file's coding. */
  SPARSE("one weight in ten, sparse"),
  /** Differences of bit patterns, as exact patches code them. */
  EXACT("exact");

  /** Columns of the matrix that the weights are. */
  static final int COLUMNS = 2048;
  private static final double DEVIATION = 0.02;
  private static final double CHANGE = 1e-3;

  private final String label;

  KernelChange(String label) {
    this.label = label;
  }

  /** What tables call it. */
  public String label() {
    return label;
  }

  /** Work over a run of weights, in chunks as the pipeline's. */
  interface Work {
    /**
     * Changes one chunk.
     *
     * @param chunk the chunk's number
     * @param weights the chunk's weights, which may be replaced in whole
     * @param isBack whether the change is taken away instead, so that weights that are changed in place stay where they are
     */
    Rounding change(int chunk, ByteBuffer weights, boolean isBack) throws IOException;

    /** Bytes read and written for the whole run: weights and changes once each. */
    long bytes();
  }

  /** The bytes of one chunk of a port. */
  static int chunkElements(DType dtype) {
    return (4 << 20) / dtype.bytes();
  }

  /** Weights to be changed. */
  static ByteBuffer weights(DType dtype, int count) {
    return Weights.normal(dtype, count, DEVIATION, 1);
  }

  /** The work on {@code count} such weights, a multiple of a chunk's. */
  Work work(Merger merger, DType dtype, int count) throws IOException {
    return switch (this) {
      case DIFFERENCE -> difference(merger, dtype, count, 1);
      case SCALED_DIFFERENCE -> difference(merger, dtype, count, 0.7);
      case DENSE -> dense(merger, dtype, count, 1);
      case SCALED -> dense(merger, dtype, count, 0.7);
      case RANK_8 -> product(merger, dtype, count, 8);
      case RANK_16 -> product(merger, dtype, count, 16);
      case RANK_64 -> product(merger, dtype, count, 64);
      case ROWS -> rows(merger, dtype, count);
      case SPARSE -> new SparseWork(merger, dtype, weights(dtype, count), count);
      case EXACT -> new ExactWork(dtype, weights(dtype, count), moved(dtype, count), count);
    };
  }

  private static ByteBuffer moved(DType dtype, int count) {
    return Weights.moved(dtype, count, DEVIATION, 1, CHANGE / 10, 2);
  }

  /** Work of a merger alone: operands of each chunk, forth and back. */
  private record Merging(Merger merger, DType dtype, int elements, List<List<Merger.Operand>> forth, List<List<Merger.Operand>> back, long bytes)
      implements Work {
    @Override
    public Rounding change(int chunk, ByteBuffer weights, boolean isBack) {
      return merger.merge(new Merger.Chunk(dtype, weights, elements), (isBack ? back : forth).get(chunk));
    }
  }

  private interface Operands {
    List<Merger.Operand> of(int chunk, double sign);
  }

  private static Work merging(Merger merger, DType dtype, int count, long bytes, Operands operands) {
    int elements = chunkElements(dtype);
    List<List<Merger.Operand>> forth = new ArrayList<>();
    List<List<Merger.Operand>> back = new ArrayList<>();
    for (int chunk = 0; chunk < count / elements; chunk++) {
      forth.add(operands.of(chunk, 1));
      back.add(operands.of(chunk, -1));
    }
    return new Merging(merger, dtype, elements, forth, back, bytes);
  }

  /** Taken back by exchanging the sides: a factor of -1 would be multiplied with. */
  private static Work difference(Merger merger, DType dtype, int count, double factor) {
    int elements = chunkElements(dtype);
    ByteBuffer tuned = Weights.moved(dtype, count, DEVIATION, 3, CHANGE, 4);
    ByteBuffer base = Weights.normal(dtype, count, DEVIATION, 3);
    return merging(merger, dtype, count, 4L * count * dtype.bytes(), (chunk, sign) -> {
      ByteBuffer mine = part(tuned, dtype, chunk * elements, elements);
      ByteBuffer other = part(base, dtype, chunk * elements, elements);
      return List.of(new Merger.Difference(0, elements, factor, dtype, sign > 0 ? mine : other, dtype, sign > 0 ? other : mine));
    });
  }

  private static Work dense(Merger merger, DType dtype, int count, double factor) {
    int elements = chunkElements(dtype);
    ByteBuffer forth = Weights.normal(dtype, count, CHANGE, 4);
    ByteBuffer back = negated(dtype, forth, count);
    return merging(merger, dtype, count, 3L * count * dtype.bytes(), (chunk, sign) -> {
      ByteBuffer values = part(sign > 0 ? forth : back, dtype, chunk * elements, elements);
      return List.of(new Merger.Values(0, elements, factor, dtype, values));
    });
  }

  private static Work product(Merger merger, DType dtype, int count, int rank) {
    int elements = chunkElements(dtype);
    int rows = elements / COLUMNS;
    float[] right = Weights.floats(rank * COLUMNS, 0.01, 5);
    float[] left = Weights.floats(rows * rank, 0.01, 6);
    long bytes = 2L * count * dtype.bytes() + 4L * rank * (count / COLUMNS + COLUMNS);
    return merging(merger, dtype, count, bytes, (chunk, sign) ->
        List.of(new Merger.LowRank(0, elements, 2 * sign, 0, COLUMNS, rank, left.clone(), right)));
  }

  private static Work rows(Merger merger, DType dtype, int count) {
    int elements = chunkElements(dtype);
    ByteBuffer forth = Weights.normal(dtype, count / 8, CHANGE, 4);
    ByteBuffer back = negated(dtype, forth, count / 8);
    return merging(merger, dtype, count, 3L * count * dtype.bytes() / 8, (chunk, sign) -> {
      List<Merger.Operand> operands = new ArrayList<>();
      for (int row = 0; row < elements / COLUMNS; row += 8) {
        int at = (chunk * elements + row * COLUMNS) / 8;
        operands.add(new Merger.Values(row * COLUMNS, COLUMNS, 1, dtype, part(sign > 0 ? forth : back, dtype, at, COLUMNS)));
      }
      return operands;
    });
  }

  static ByteBuffer part(ByteBuffer bytes, DType dtype, int first, int count) {
    return bytes.slice(first * dtype.bytes(), count * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The same elements with their signs, the highest bits, flipped. */
  private static ByteBuffer negated(DType dtype, ByteBuffer values, int count) {
    ByteBuffer result = Weights.copy(values);
    for (int i = 1; i <= count; i++) {
      int at = i * dtype.bytes() - 1;
      result.put(at, (byte) (result.get(at) ^ 0x80));
    }
    return result;
  }
}
