package io.portllm.internal.kernel;

import io.portllm.Merger;
import java.util.List;

/**
 * Changes by themselves, without weights that they are added to. In plain Java, of which the JIT compilers make vectors at once: code for
 * the Vector API needs longer to warm up than most changes last.
 */
public final class Changes {
  private static final BlockMerger MERGER = new BlockMerger("changes", ScalarKernel::new);

  private Changes() {}

  /**
   * Sums changes to a run of elements in float32, as {@link Merger} defines them. Where nothing is changed the sum is zero; zeros are
   * positive.
   *
   * @param operands the changes, added in this order
   * @param count the elements of the run
   * @param target receives the sums from index {@code at} on
   */
  public static void evaluate(List<Merger.Operand> operands, int count, float[] target, int at) {
    MERGER.evaluate(operands, count, target, at);
  }
}
