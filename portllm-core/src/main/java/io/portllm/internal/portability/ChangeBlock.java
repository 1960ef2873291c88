package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.internal.patch.Terms;
import java.io.IOException;
import java.util.List;

/** A block of rows of a change that needs no weights. For one thread. */
final class ChangeBlock {
  private final Delta delta;
  private final DeltaValues values;
  private final Elements elements;
  private final Elements operand;
  private final Elements subtrahend;

  /**
   * A reader of {@code delta}, which {@link RowEvaluator#isEvaluable}.
   *
   * @param tensor the tensor's name, for messages
   * @param elements receives the changes
   */
  ChangeBlock(String tensor, Delta delta, Elements elements, Blocks blocks) {
    this.values = new DeltaValues(tensor, delta, new DeltaValues.Shared());
    this.elements = elements;
    this.delta = plain(delta);
    this.operand = this.delta == null ? null : blocks.elements();
    this.subtrahend = this.delta instanceof Delta.Difference ? blocks.elements() : null;
  }

  /** The change, if it is stored values or a difference of them, which need no merger; else null. */
  private static Delta plain(Delta delta) {
    List<Delta.Term> terms = Terms.of(delta);
    if (terms.size() > 1 || terms.get(0).factor() != 1) {
      return null;
    }
    Delta only = terms.get(0).delta();
    boolean plain = only instanceof Delta.Dense dense && isNarrow(dense.values())
        || only instanceof Delta.Difference difference && isNarrow(difference.tuned()) && isNarrow(difference.base());
    return plain ? only : null;
  }

  private static boolean isNarrow(Tensor tensor) {
    return tensor.info().dtype() != DType.F64;
  }

  /**
   * Reads {@code count} changes from element {@code first} on; infinite and NaN ones become zero.
   *
   * @param atHand a tensor of which the same elements are at hand, or null
   * @param block those elements, of which all were finite
   * @return how many are infinite or NaN
   */
  long read(long first, int count, Tensor atHand, Elements block) throws IOException {
    if (delta == null || first + count > delta.shape().elements() || !readPlain(first, count, atHand, block)) {
      values.readAny(first, count, elements.floats());
    }
    return elements.settle(count);
  }

  /** False if not all that is read is finite. */
  private boolean readPlain(long first, int count, Tensor atHand, Elements block) throws IOException {
    if (delta instanceof Delta.Dense dense) {
      if (operand.readFloats(dense.values(), first, count) > 0) {
        return false;
      }
      copy(operand.floats(), elements.floats(), count);
      return true;
    }
    Delta.Difference difference = (Delta.Difference) delta;
    boolean known = difference.base().equals(atHand);
    if (operand.readFloats(difference.tuned(), first, count) > 0 || !known && subtrahend.readFloats(difference.base(), first, count) > 0) {
      return false;
    }
    subtract(operand.floats(), known ? block.floats() : subtrahend.floats(), elements.floats(), count);
    return true;
  }

  /** Adding zero makes zeros positive, as merging does. */
  private static void copy(float[] values, float[] target, int count) {
    for (int i = 0; i < count; i++) {
      target[i] = values[i] + 0f;
    }
  }

  private static void subtract(float[] values, float[] others, float[] target, int count) {
    for (int i = 0; i < count; i++) {
      target[i] = values[i] - others[i];
    }
  }
}
