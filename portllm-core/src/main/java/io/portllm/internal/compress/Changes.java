package io.portllm.internal.compress;

import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.internal.merge.Elements;
import io.portllm.internal.patch.DeltaValues;
import java.io.IOException;
import java.util.List;

/** The values of a change, infinite and NaN ones too. Safe for use by many threads. */
final class Changes implements Elements {
  private final DeltaValues values;
  private final long count;

  /** The values of {@code delta}; see {@link DeltaValues} for what is refused. */
  Changes(String tensor, Delta delta, DeltaValues.Shared shared) {
    this.values = new DeltaValues(tensor, delta, shared);
    this.count = delta.shape().elements();
  }

  /** The tensors that are read. */
  List<Tensor> inputs() {
    return values.inputs();
  }

  @Override
  public long count() {
    return count;
  }

  @Override
  public void read(long first, int length, float[] target) throws IOException {
    values.readCounting(first, length, target);
  }
}
