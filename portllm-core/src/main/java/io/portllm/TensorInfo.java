package io.portllm;

import java.util.Objects;

/**
 * What a tensor is, without its values.
 *
 * @param name its name in the checkpoint, any string
 * @param dtype the type of its elements
 * @param shape its dimensions, outermost first
 */
public record TensorInfo(String name, DType dtype, Shape shape) {
  public TensorInfo {
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(dtype, "dtype");
    Objects.requireNonNull(shape, "shape");
  }

  /** The number of its elements. */
  public long elements() {
    return shape.elements();
  }

  /**
   * The number of its bytes.
   *
   * @throws ArithmeticException if the number of its bits does not fit a long
   */
  public long bytes() {
    return Math.multiplyExact(shape.elements(), (long) dtype.bits()) / 8;
  }
}
