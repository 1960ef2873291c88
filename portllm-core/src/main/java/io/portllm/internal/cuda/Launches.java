package io.portllm.internal.cuda;

import io.portllm.DType;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;

/** Chooses the kernel for the operands of a run. */
final class Launches {
  private Launches() {}

  /**
   * The kernel for a run.
   *
   * @param type the type of the weights, one of {@link Kernels#runsOn}
   * @param elements the elements of the run
   * @param operands what is added to them
   */
  static Launch of(DType type, int elements, List<Operand> operands) {
    if (operands.size() == 1 && operands.get(0).start() * (long) type.bytes() % 16 == 0) {
      Operand operand = operands.get(0);
      if (operand instanceof Values values && Kernels.runsOn(values.dtype())) {
        long[] positions = SparseLaunch.positions(values);
        return positions == null ? new ValuesLaunch(type, elements, values) : new SparseLaunch(type, values, positions);
      }
      if (operand instanceof Difference difference && difference.tunedType() == type && difference.baseType() == type) {
        return new DifferenceLaunch(type, elements, difference);
      }
      if (operand instanceof LowRank product && product.rank() > 0) {
        return new ProductLaunch(type, elements, product);
      }
    }
    return coverTheSame(type, operands) ? new SumLaunch(type, elements, operands) : new TilesLaunch(type, elements, operands);
  }

  private static boolean coverTheSame(DType type, List<Operand> operands) {
    Operand first = operands.get(0);
    return first.start() * (long) type.bytes() % 16 == 0
        && operands.stream().allMatch(operand -> operand.start() == first.start() && operand.elements() == first.elements());
  }

  /** The part of {@code operands} that lies within a part of their run, counted from the start of that part. */
  static List<Operand> part(List<Operand> operands, int first, int count) {
    return operands.stream()
        .filter(operand -> operand.start() < first + count && operand.start() + operand.elements() > first)
        .map(operand -> part(operand, first, count))
        .toList();
  }

  private static Operand part(Operand operand, int first, int count) {
    int from = Math.max(first, operand.start());
    int length = Math.min(first + count, operand.start() + operand.elements()) - from;
    int skipped = from - operand.start();
    int start = from - first;
    if (operand instanceof Values values) {
      return new Values(start, length, values.factor(), values.dtype(), slice(values.dtype(), values.values(), skipped, length));
    }
    if (operand instanceof Difference difference) {
      return new Difference(
          start,
          length,
          difference.factor(),
          difference.tunedType(),
          slice(difference.tunedType(), difference.tuned(), skipped, length),
          difference.baseType(),
          slice(difference.baseType(), difference.base(), skipped, length));
    }
    LowRank product = (LowRank) operand;
    long at = (long) product.column() + skipped;
    int row = (int) (at / product.columns());
    int rows = (int) ((at + length - 1) / product.columns()) + 1 - row;
    float[] left = Arrays.copyOfRange(product.left(), row * product.rank(), (row + rows) * product.rank());
    return new LowRank(
        start, length, product.factor(), (int) (at % product.columns()), product.columns(), product.rank(), left, product.right());
  }

  private static ByteBuffer slice(DType type, ByteBuffer values, int first, int count) {
    return values.slice(first * type.bytes(), count * type.bytes()).order(values.order());
  }

  private static boolean covers(Operand operand, int elements) {
    return operand.start() == 0 && operand.elements() == elements;
  }

  private static void put(ByteBuffer host, int at, DType type, ByteBuffer values, int count) {
    host.put(at, values, 0, count * type.bytes());
  }

  private record ValuesLaunch(DType type, int elements, Values operand) implements Launch {
    @Override
    public int bytes() {
      return operand.elements() * operand.dtype().bytes();
    }

    @Override
    public boolean writesAll() {
      return covers(operand, elements);
    }

    @Override
    public void write(ByteBuffer host, int at) {
      put(host, at, operand.dtype(), operand.values(), operand.elements());
    }

    @Override
    public Starter starter() {
      DType weights = type;
      DType stored = operand.dtype();
      long skipped = (long) operand.start() * type.bytes();
      int count = operand.elements();
      float factor = (float) operand.factor();
      return (stream, source, target, area, counts) ->
          stream.mergeValues(weights, source + skipped, target + skipped, stored, area, count, factor, counts);
    }
  }

  private record DifferenceLaunch(DType type, int elements, Difference operand) implements Launch {
    private long half() {
      return Area.align((long) operand.elements() * type.bytes());
    }

    @Override
    public int bytes() {
      return Math.toIntExact(2 * half());
    }

    @Override
    public boolean writesAll() {
      return covers(operand, elements);
    }

    @Override
    public void write(ByteBuffer host, int at) {
      put(host, at, type, operand.tuned(), operand.elements());
      put(host, (int) (at + half()), type, operand.base(), operand.elements());
    }

    @Override
    public Starter starter() {
      DType weights = type;
      long skipped = (long) operand.start() * type.bytes();
      long half = half();
      int count = operand.elements();
      float factor = (float) operand.factor();
      return (stream, source, target, area, counts) ->
          stream.mergeDifference(weights, source + skipped, target + skipped, area, area + half, count, factor, counts);
    }
  }

  private record ProductLaunch(DType type, int elements, LowRank operand) implements Launch {
    private int ranks() {
      return Kernels.filledRank(operand.rank());
    }

    private int rows() {
      return Math.toIntExact(((long) operand.column() + operand.elements() + operand.columns() - 1) / operand.columns());
    }

    private int leftBytes() {
      return Math.toIntExact(4L * rows() * ranks());
    }

    private long right() {
      return Area.align(leftBytes());
    }

    @Override
    public int bytes() {
      return Math.toIntExact(right() + 4L * ranks() * operand.columns());
    }

    @Override
    public boolean writesAll() {
      return covers(operand, elements);
    }

    @Override
    public void write(ByteBuffer host, int at) {
      int ranks = ranks();
      int rank = operand.rank();
      FloatBuffer left = host.slice(at, leftBytes()).order(host.order()).asFloatBuffer();
      float[] zeros = new float[ranks - rank];
      for (int row = 0; row < rows(); row++) {
        left.put(operand.left(), row * rank, rank).put(zeros);
      }
      FloatBuffer right = host.slice((int) (at + right()), 4 * ranks * operand.columns()).order(host.order()).asFloatBuffer();
      right.put(operand.right(), 0, rank * operand.columns());
      while (right.hasRemaining()) {
        right.put(0);
      }
    }

    @Override
    public Starter starter() {
      DType weights = type;
      long skipped = (long) operand.start() * type.bytes();
      long right = right();
      int column = operand.column();
      int columns = operand.columns();
      int rank = ranks();
      int count = operand.elements();
      float factor = (float) operand.factor();
      boolean isExact = Kernels.areProductsExact(operand.left(), operand.right());
      return (stream, source, target, area, counts) ->
          stream.mergeProduct(
              weights,
              source + skipped,
              target + skipped,
              new DeviceStream.Product(area, area + right, column, columns, rank, isExact),
              count,
              factor,
              counts);
    }
  }
}
