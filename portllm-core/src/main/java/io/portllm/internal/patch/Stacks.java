package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.RowChange;
import io.portllm.Shape;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Stacks of matrices, such as fused experts: parameters of three and more dimensions of which the last two are a matrix. The weight of a
 * convolution, which modules call {@code weight}, is one matrix of out × rest instead, unless the name speaks of experts.
 */
public final class Stacks {
  /**
   * Modules of fused experts in Hugging Face's and llama.cpp's names: {@code mlp.experts}, {@code block_sparse_moe}, {@code ffn_up_exps}.
   */
  private static final Pattern EXPERTS = Pattern.compile("(^|[._])(experts|exps|moe)([._]|$)");

  private Stacks() {}

  /** A change of a stack whose matrices have factors. */
  public interface OfProducts extends RowChange {
    /** The change of a matrix. */
    Delta.LowRank product(int matrix);
  }

  /** Whether the tensor of this name and shape is a stack. */
  public static boolean isStack(String tensor, Shape shape) {
    return shape.rank() > 2 && (!tensor.endsWith(".weight") || EXPERTS.matcher(tensor).find());
  }

  /** The shape of one matrix of a stack. */
  public static Shape matrix(Shape stack) {
    return Shape.of(stack.dimension(stack.rank() - 2), stack.dimension(stack.rank() - 1));
  }

  /** The number of matrices of a stack. */
  public static int count(Shape stack) {
    long count = 1;
    for (int i = 0; i < stack.rank() - 2; i++) {
      count = Math.multiplyExact(count, stack.dimension(i));
    }
    return Math.toIntExact(count);
  }

  /** The matrices of a change that is nothing but products: one for a plain matrix, all of a stack. */
  public static Optional<List<Delta>> products(Delta delta) {
    if (!delta.isAdditive()) {
      return Optional.empty();
    }
    List<Delta.Term> terms = Terms.of(delta);
    if (terms.stream().allMatch(term -> term.delta() instanceof Delta.LowRank)) {
      return Optional.of(List.of(delta));
    }
    Shape shape = delta.shape();
    if (!terms.stream().allMatch(term -> stack(term.delta()).isPresent() && term.delta().shape().equals(shape))) {
      return Optional.empty();
    }
    ImmutableList.Builder<Delta> matrices = ImmutableList.builder();
    for (int i = 0; i < count(shape); i++) {
      int matrix = i;
      matrices.add(
          new Delta.Sum(
              terms.stream().map(term -> new Delta.Term(term.factor(), stack(term.delta()).orElseThrow().product(matrix))).toList()));
    }
    return Optional.of(matrices.build());
  }

  /** A change as a stack of products, if it is one. */
  public static Optional<OfProducts> stack(Delta delta) {
    return delta instanceof Delta.Computed computed && computed.change() instanceof OfProducts stack
        ? Optional.of(stack)
        : Optional.empty();
  }
}
