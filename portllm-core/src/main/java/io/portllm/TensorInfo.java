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
    if (dtype.isQuantised() && (shape.rank() == 0 || shape.dimension(shape.rank() - 1) % dtype.blockElements() != 0)) {
      throw new IllegalArgumentException(
          "the last dimension of a " + dtype + " tensor must be a multiple of " + dtype.blockElements() + " but the shape was " + shape);
    }
  }

  /** The number of its elements. */
  public long elements() {
    return shape.elements();
  }

  /**
   * The number of its bytes.
   *
   * @throws ArithmeticException if the number does not fit a long
   */
  public long bytes() {
    return dtype.isQuantised()
        ? Math.multiplyExact(shape.elements() / dtype.blockElements(), (long) dtype.blockBytes())
        : Math.multiplyExact(shape.elements(), (long) dtype.bits()) / 8;
  }
}
