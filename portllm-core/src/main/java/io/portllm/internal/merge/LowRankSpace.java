package io.portllm.internal.merge;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.patch.Terms;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * The column space of a low-rank change B·A: the outputs that it can reach.
 *
 * @param basis orthonormal columns
 */
public record LowRankSpace(double[][] basis) {
  /**
   * The spaces of a change, one for each matrix of a stack, if it consists of low-rank products or sums of such. Reads the factors whole.
   */
  public static Optional<List<LowRankSpace>> of(Delta delta) throws IOException {
    Optional<List<Delta>> products = Stacks.products(delta);
    if (products.isEmpty()) {
      return Optional.empty();
    }
    List<LowRankSpace> spaces = new ArrayList<>();
    for (Delta product : products.get()) {
      spaces.add(ofProducts(product));
    }
    return Optional.of(spaces);
  }

  private static LowRankSpace ofProducts(Delta delta) throws IOException {
    List<double[]> left = new ArrayList<>();
    List<double[]> right = new ArrayList<>();
    for (Delta.Term term : Terms.of(delta)) {
      Delta.LowRank product = (Delta.LowRank) term.delta();
      double[][] b = matrix(product.b());
      int rank = product.rank();
      double factor = term.factor() * product.scale();
      for (int k = 0; k < rank; k++) {
        double[] column = new double[b.length];
        for (int i = 0; i < b.length; i++) {
          column[i] = b[i][k] * factor;
        }
        left.add(column);
      }
      right.addAll(Arrays.asList(matrix(product.a())));
    }
    SmallMatrices.Qr b = SmallMatrices.Qr.of(left.toArray(double[][]::new));
    SmallMatrices.Qr a = SmallMatrices.Qr.of(right.toArray(double[][]::new));
    // B·A = Qb·(Rb·Raᵀ)·Qaᵀ, so the space is Qb times the left singular vectors of the small matrix in between.
    SmallMatrices.Svd core = SmallMatrices.Svd.of(SmallMatrices.product(b.r(), SmallMatrices.transpose(a.r(), a.r().length)));
    return new LowRankSpace(SmallMatrices.product(b.q(), Arrays.copyOf(core.u(), core.rank())));
  }

  /** The number of its dimensions. */
  public int rank() {
    return basis.length;
  }

  /** The cosines of the principal angles between two spaces, greatest first: as many as the smaller has dimensions. */
  public double[] cosines(LowRankSpace other) {
    int larger = Math.max(rank(), other.rank());
    double[][] products = new double[larger][larger];
    for (int j = 0; j < other.rank(); j++) {
      for (int i = 0; i < rank(); i++) {
        products[j][i] = SmallMatrices.dot(basis[i], other.basis[j]);
      }
    }
    double[] values = SmallMatrices.Svd.of(products).values();
    return Arrays.stream(values).limit(Math.min(rank(), other.rank())).map(value -> Math.min(1, value)).toArray();
  }

  /** The rows of a tensor. */
  private static double[][] matrix(Tensor tensor) throws IOException {
    DType type = tensor.info().dtype();
    int rows = Math.toIntExact(tensor.info().shape().rows());
    int columns = Math.toIntExact(tensor.info().shape().columns());
    double[][] matrix = new double[rows][columns];
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(columns, type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    for (int row = 0; row < rows; row++) {
      tensor.read((long) row * columns * type.bytes(), bytes.clear());
      Floats.read(type, bytes, 0, matrix[row], columns, new int[columns], new float[columns]);
    }
    return matrix;
  }
}
