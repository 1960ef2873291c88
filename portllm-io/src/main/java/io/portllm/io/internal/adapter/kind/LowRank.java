package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;

/** Makes low-rank changes of two factors. */
final class LowRank {
  private LowRank() {}

  /** The change {@code scale · B·A}, of the shape that the factors make. */
  static Delta.LowRank of(Tensor b, Tensor a, double scale, boolean transposed) {
    long out = b.info().shape().rows();
    long in = a.info().shape().columns();
    return new Delta.LowRank(b, a, scale, transposed, transposed ? Shape.of(in, out) : Shape.of(out, in));
  }
}
