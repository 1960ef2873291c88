package io.portllm.io.internal.adapter;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.internal.patch.Terms;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The factors of a module as PEFT holds them: the weight, or its transpose, changes by {@code scale · B·A}.
 *
 * @param b out × rank
 * @param a rank × in
 * @param scale alpha / rank
 */
public record ExportedFactors(Tensor b, Tensor a, double scale) {
  /**
   * A product of the sum.
   *
   * @param swapped whether PEFT's B is the transpose of {@code right} and its A that of {@code left}
   */
  private record Product(Tensor left, Tensor right, boolean swapped, double scale) {
    int rank() {
      return Math.toIntExact(right.info().shape().rows());
    }
  }

  /** The products that {@code delta} is the sum of, if it is nothing else. */
  public static Optional<List<Delta.LowRank>> products(Delta delta) {
    if (!delta.isAdditive() || Terms.of(delta).stream().anyMatch(term -> !(term.delta() instanceof Delta.LowRank))) {
      return Optional.empty();
    }
    return Optional.of(Terms.of(delta).stream().map(term -> (Delta.LowRank) term.delta()).toList());
  }

  /**
   * {@code delta} without differences that are zero: PEFT stores copies of embeddings beside their factors, and where they are the base's, the
   * factors are the whole change.
   */
  public static Delta withoutZeros(Delta delta) throws IOException {
    if (!(delta instanceof Delta.Sum sum) || sum.terms().stream().noneMatch(term -> term.delta() instanceof Delta.LowRank)) {
      return delta;
    }
    List<Delta.Term> kept = new ArrayList<>();
    for (Delta.Term term : sum.terms()) {
      if (!(term.delta() instanceof Delta.Difference) || !isZero(new RowEvaluator(term.delta()))) {
        kept.add(term);
      }
    }
    return new Delta.Sum(kept);
  }

  private static boolean isZero(RowEvaluator rows) throws IOException {
    float[] row = new float[Math.toIntExact(rows.shape().columns())];
    for (long i = 0; i < rows.shape().rows(); i++) {
      rows.read(i, 1, row);
      for (float value : row) {
        if (value != 0) {
          return false;
        }
      }
    }
    return true;
  }

  /**
   * The factors of {@code delta}, a sum of products: one product as it is; several stacked, [B₁ B₂]·[A₁; A₂], which is exact (FLoRA, arXiv
   * 2409.05976), with B scaled in float32 where the scales differ.
   *
   * @param transposed whether PEFT adds the product's transpose to the weight
   */
  public static ExportedFactors of(String tensor, Delta delta, boolean transposed) throws IOException {
    List<Product> products = Terms.of(delta).stream().map(term -> product((Delta.LowRank) term.delta(), term.factor(), transposed)).toList();
    Product first = products.get(0);
    if (products.size() == 1 && !first.swapped()) {
      return new ExportedFactors(first.left(), first.right(), first.scale());
    }
    int rank = products.stream().mapToInt(Product::rank).sum();
    Delta.LowRank any = (Delta.LowRank) Terms.of(delta).get(0).delta();
    int out = Math.toIntExact(transposed ? any.shape().columns() : any.shape().rows());
    int in = Math.toIntExact(transposed ? any.shape().rows() : any.shape().columns());
    double scale = products.stream().mapToDouble(Product::scale).filter(value -> value != 0).findFirst().orElse(1);
    float[] b = new float[Math.multiplyExact(out, rank)];
    float[] a = new float[Math.multiplyExact(rank, in)];
    int done = 0;
    for (Product product : products) {
      int more = product.rank();
      float[] left = read(product.left());
      float[] right = read(product.right());
      float factor = (float) (product.scale() / scale);
      for (int k = 0; k < more; k++) {
        for (int i = 0; i < out; i++) {
          b[i * rank + done + k] = factor * (product.swapped() ? right[k * out + i] : left[i * more + k]);
        }
        for (int i = 0; i < in; i++) {
          a[(done + k) * in + i] = product.swapped() ? left[i * more + k] : right[k * in + i];
        }
      }
      done += more;
    }
    return new ExportedFactors(OneTensor.of(tensor, Shape.of(out, rank), b), OneTensor.of(tensor, Shape.of(rank, in), a), scale);
  }

  /** W = B·A is (Aᵀ·Bᵀ)ᵀ, so a product of the other orientation has its factors swapped and transposed. */
  private static Product product(Delta.LowRank delta, double factor, boolean transposed) {
    return new Product(delta.b(), delta.a(), delta.transposed() != transposed, factor * delta.scale());
  }

  /** The inner dimension. */
  public int rank() {
    return Math.toIntExact(a.info().shape().rows());
  }

  /** The value of alpha that gives the scale when PEFT divides it by the rank. */
  public double alpha() {
    double alpha = scale * rank();
    for (double near : new double[] {Math.nextUp(alpha), Math.nextDown(alpha)}) {
      if (alpha / rank() != scale && near / rank() == scale) {
        return near;
      }
    }
    return alpha;
  }

  private static float[] read(Tensor tensor) throws IOException {
    DType type = tensor.info().dtype();
    int count = Math.toIntExact(tensor.info().elements());
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(count, type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(0, bytes);
    float[] values = new float[count];
    Floats.read(type, bytes, 0, values, count, new int[count]);
    return values;
  }
}
