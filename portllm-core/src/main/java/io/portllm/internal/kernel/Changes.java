package io.portllm.internal.kernel;

import io.portllm.Merger;
import java.util.List;

/** Changes by themselves, without weights that they are added to. */
public final class Changes {
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
    ((BlockMerger) FastestMerger.INSTANCE).evaluate(operands, count, target, at);
  }
}
