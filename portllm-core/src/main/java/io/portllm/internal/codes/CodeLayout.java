package io.portllm.internal.codes;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;

/**
 * Where the codes and scales of a quantised tensor lie; see {@link io.portllm.Delta.Quantised}.
 *
 * @param bits of a code: 8, 4 or 1
 * @param rows of the tensor
 * @param columns of the tensor
 * @param group columns that share a scale; 0 if all weights do
 */
public record CodeLayout(int bits, long rows, long columns, long group) {
  public CodeLayout {
    if (bits != 8 && bits != 4 && bits != 1) {
      throw new IllegalArgumentException("bits must be 8, 4 or 1 but was " + bits);
    }
    if (group < 0 || group < columns && group % 8 != 0) {
      throw new IllegalArgumentException("group must be 0, a multiple of 8 or at least a row but was " + group);
    }
  }

  /** The layout for a tensor of this shape. */
  public static CodeLayout of(Shape shape, int bits, long group) {
    return shape.rank() < 2 ? new CodeLayout(bits, 1, shape.elements(), group) : new CodeLayout(bits, shape.rows(), shape.columns(), group);
  }

  /** Bytes of the codes of a row. */
  public long rowBytes() {
    return columns / 8 * bits + (columns % 8 * bits + 7) / 8;
  }

  /** Scales of a row. */
  public long rowScales() {
    return group == 0 ? 0 : columns / group + (columns % group == 0 ? 0 : 1);
  }

  /** The shape of the codes. */
  public Shape codes() {
    return Shape.of(rows, rowBytes());
  }

  /** The shape of the scales. */
  public Shape scales() {
    return group == 0 ? Shape.of(1, 1) : Shape.of(rows, rowScales());
  }

  /** The largest code; codes go from its negative to it. */
  public int largest() {
    return bits == 8 ? 127 : bits == 4 ? 7 : 1;
  }

  /** The code at a column of a row whose codes begin at byte {@code start} of {@code codes}. */
  public int code(byte[] codes, int start, int column) {
    return switch (bits) {
      case 8 -> codes[start + column];
      // Shifting left first brings the sign of the four bits to the top.
      case 4 -> codes[start + (column >> 1)] << (28 - 4 * (column & 1)) >> 28;
      default -> (codes[start + (column >> 3)] >> (column & 7) & 1) * 2 - 1;
    };
  }

  /** Writes a code where {@link #code} reads it; the bits there must be 0. */
  public void put(byte[] codes, int start, int column, int code) {
    switch (bits) {
      case 8 -> codes[start + column] = (byte) code;
      case 4 -> codes[start + (column >> 1)] |= (byte) ((code & 15) << 4 * (column & 1));
      default -> codes[start + (column >> 3)] |= (byte) ((code > 0 ? 1 : 0) << (column & 7));
    }
  }

  /**
   * Checks types and shapes.
   *
   * @throws IllegalArgumentException if they are not as this layout needs
   */
  public void requireFits(TensorInfo codes, TensorInfo scales) {
    require(codes, DType.U8, codes());
    require(scales, DType.F32, scales());
  }

  static void require(TensorInfo tensor, DType type, Shape shape) {
    if (tensor.dtype() != type || !tensor.shape().equals(shape)) {
      throw new IllegalArgumentException(
          "tensor " + Names.quote(tensor.name()) + " must be " + type + " " + shape + " but is " + tensor.dtype() + " " + tensor.shape());
    }
  }
}
