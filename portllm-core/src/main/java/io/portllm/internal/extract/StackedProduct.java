package io.portllm.internal.extract;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.extract.RankRule;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.Terms;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A sum of low-rank products as one product of two thin matrices, L·Rᵀ: FLoRA's stacking (arXiv 2409.05976), scales multiplied into L. It
 * is decomposed through the QR decompositions of L and R and the singular values of the small matrix between them, all in float64; what it
 * is a product of is never formed. Needs 16 bytes for each number of the factors, and 24 for each pair of stacked ranks.
 */
public final class StackedProduct {
  /** Products that cancel each other leave no more than this of their size. */
  private static final double ROUNDING = 1e-14;

  private final int rows;
  private final int columns;
  private final int count;
  /** {@code count} vectors of {@code rows} values. */
  private final double[] left;
  /** {@code count} vectors of {@code columns} values, each of length 1, or zero. */
  private final double[] right;

  private StackedProduct(int rows, int columns, int count) {
    this.rows = rows;
    this.columns = columns;
    this.count = count;
    this.left = new double[Math.multiplyExact(count, rows)];
    this.right = new double[Math.multiplyExact(count, columns)];
  }

  /** A change that is nothing but low-rank products of finite numbers. Reads the factors. */
  public static Optional<StackedProduct> of(Delta delta) throws IOException {
    if (!delta.isAdditive() || Terms.of(delta).stream().anyMatch(term -> !(term.delta() instanceof Delta.LowRank))) {
      return Optional.empty();
    }
    List<Delta.Term> terms = Terms.of(delta);
    int count = terms.stream().mapToInt(term -> ((Delta.LowRank) term.delta()).rank()).reduce(0, Math::addExact);
    StackedProduct product =
        new StackedProduct(Math.toIntExact(delta.shape().rows()), Math.toIntExact(delta.shape().columns()), count);
    int from = 0;
    for (Delta.Term term : terms) {
      Delta.LowRank factors = (Delta.LowRank) term.delta();
      product.add(factors, term.factor() * factors.scale(), from);
      from += factors.rank();
    }
    return product.balance() ? Optional.of(product) : Optional.empty();
  }

  private void add(Delta.LowRank factors, double scale, int from) throws IOException {
    int rank = factors.rank();
    double[] b = values(factors.b());
    double[] a = values(factors.a());
    int out = rank == 0 ? 0 : b.length / rank;
    int in = rank == 0 ? 0 : a.length / rank;
    for (int k = 0; k < rank; k++) {
      for (int i = 0; i < out; i++) {
        double value = b[i * rank + k];
        if (factors.transposed()) {
          right[(from + k) * columns + i] = value;
        } else {
          left[(from + k) * rows + i] = scale * value;
        }
      }
      for (int i = 0; i < in; i++) {
        double value = a[k * in + i];
        if (factors.transposed()) {
          left[(from + k) * rows + i] = scale * value;
        } else {
          right[(from + k) * columns + i] = value;
        }
      }
    }
  }

  /** Moves the lengths of R's vectors to those of L, so that these tell how much each pair counts; false if a number is not finite. */
  private boolean balance() {
    boolean finite = true;
    for (int k = 0; k < count; k++) {
      double length = Math.sqrt(Vectors.dot(right, k * columns, right, k * columns, columns));
      for (int i = k * columns; i < (k + 1) * columns; i++) {
        right[i] = length == 0 ? 0 : right[i] / length;
      }
      for (int i = k * rows; i < (k + 1) * rows; i++) {
        left[i] *= length;
      }
      finite &= Double.isFinite(length) && Double.isFinite(Vectors.dot(left, k * rows, left, k * rows, rows));
    }
    return finite;
  }

  /** The number of stacked ranks. */
  public int rank() {
    return count;
  }

  /** The Frobenius norm of the product. */
  public double norm() {
    return Core.of(left.clone(), rows, right.clone(), columns, count).norm();
  }

  /**
   * The best approximation of the rank that the rule asks for.
   *
   * @return its factors; of rank 0 if the product is zero, and of no rank below {@link #rank} if the rule leaves nothing out
   */
  public Approximation approximate(RankRule rule) {
    double[] leftBasis = left.clone();
    double[] rightBasis = right.clone();
    Core core = Core.of(leftBasis, rows, rightBasis, columns, count);
    double squares = core.norm() * core.norm();
    if (core.norm() <= ROUNDING * Math.sqrt(Vectors.dot(left, 0, left, 0, left.length))) {
      return new Approximation(0, 0, 0, true, new float[0], new float[0]);
    }
    int length = core.leftRank();
    JacobiSvd svd = JacobiSvd.of(core.values().clone(), core.rightRank(), length);
    int wanted = Approximation.least(svd.values(), squares, rule);
    int rank = Math.min(wanted == 0 ? Math.min(core.leftRank(), core.rightRank()) : wanted, rule.most());
    float[] b = new float[Math.multiplyExact(rows, rank)];
    float[] a = new float[Math.multiplyExact(rank, columns)];
    double[] inCore = new double[length];
    double[] column = new double[rows];
    double[] row = new double[columns];
    for (int k = 0; k < rank; k++) {
      double root = Math.sqrt(svd.values()[k]);
      Arrays.fill(inCore, 0);
      Vectors.addAll(inCore, 0, length, svd.right(), k * core.rightRank(), 1, core.values(), 0, length, core.rightRank());
      Arrays.fill(column, 0);
      Vectors.addAll(column, 0, rows, inCore, 0, 1, leftBasis, 0, rows, length);
      Arrays.fill(row, 0);
      Vectors.addAll(row, 0, columns, svd.right(), k * core.rightRank(), 1, rightBasis, 0, columns, core.rightRank());
      for (int i = 0; i < rows; i++) {
        b[i * rank + k] = (float) (column[i] / root);
      }
      for (int i = 0; i < columns; i++) {
        a[k * columns + i] = (float) (row[i] * root);
      }
    }
    return new Approximation(core.norm(), 0, rank, true, b, a);
  }

  /** The Frobenius norm of what B·A, as it is stored, misses of the product: that of the stack of both, [L B]·[R −Aᵀ]ᵀ. */
  public double errorOf(Approximation found) {
    int rank = found.rank();
    StackedProduct rest = new StackedProduct(rows, columns, Math.addExact(count, rank));
    System.arraycopy(left, 0, rest.left, 0, left.length);
    System.arraycopy(right, 0, rest.right, 0, right.length);
    for (int k = 0; k < rank; k++) {
      for (int i = 0; i < rows; i++) {
        rest.left[(count + k) * rows + i] = -found.b()[i * rank + k];
      }
      for (int i = 0; i < columns; i++) {
        rest.right[(count + k) * columns + i] = found.a()[k * columns + i];
      }
    }
    rest.balance();
    return Core.of(rest.left, rows, rest.right, columns, count + rank).norm();
  }

  private static double[] values(Tensor tensor) throws IOException {
    DType type = tensor.info().dtype();
    int elements = Math.toIntExact(tensor.info().elements());
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(elements, type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(0, bytes);
    double[] values = new double[elements];
    Floats.read(type, bytes, 0, values, elements, new int[elements], new float[elements]);
    return values;
  }

  /**
   * What lies between orthonormal bases of L and R.
   *
   * @param values by columns, one of {@code leftRank} values for each vector of the right basis
   */
  private record Core(double[] values, int leftRank, int rightRank) {
    /** Puts bases in place of the vectors. */
    static Core of(double[] left, int rows, double[] right, int columns, int count) {
      double[] ofLeft = new double[Math.multiplyExact(count, count)];
      double[] ofRight = new double[count * count];
      int leftRank = Orthonormal.orthonormalise(left, count, rows, ofLeft);
      int rightRank = Orthonormal.orthonormalise(right, count, columns, ofRight);
      double[] values = new double[leftRank * rightRank];
      for (int j = 0; j < rightRank; j++) {
        for (int i = 0; i < leftRank; i++) {
          values[j * leftRank + i] = Vectors.dot(ofLeft, i * count, ofRight, j * count, count);
        }
      }
      return new Core(values, leftRank, rightRank);
    }

    double norm() {
      return Math.sqrt(Vectors.dot(values, 0, values, 0, values.length));
    }
  }
}
