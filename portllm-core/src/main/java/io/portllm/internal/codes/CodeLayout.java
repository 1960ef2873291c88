package io.portllm.internal.codes;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;

/**
 * Where the codes and scales of a quantised tensor lie; see {@link io.portllm.Delta.Quantised}.
 *
 * @param bits of a code: 8, 4, 3, 2 or 1
 * @param rows of the tensor
 * @param columns of the tensor
 * @param group columns that share a scale; 0 if all weights do
 */
public record CodeLayout(int bits, long rows, long columns, long group) {
  public CodeLayout {
    requireBits(bits);
    if (group < 0 || group < columns && group % 8 != 0) {
      throw new IllegalArgumentException("group must be 0, a multiple of 8 or at least a row but was " + group);
    }
  }

  /**
   * Checks a number of bits.
   *
   * @throws IllegalArgumentException if codes cannot have so many
   */
  public static void requireBits(int bits) {
    if (bits < 1 || bits > 4 && bits != 8) {
      throw new IllegalArgumentException("bits must be 8, 4, 3, 2 or 1 but was " + bits);
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
    return isOdd() ? (1 << bits) - 1 : (1 << (bits - 1)) - 1;
  }

  /** Whether codes are the odd numbers alone, which makes the most of few of them. */
  public boolean isOdd() {
    return bits < 4;
  }

  /** The code at a column of a row whose codes begin at byte {@code start} of {@code codes}. */
  public int code(byte[] codes, int start, int column) {
    int at = column * bits;
    int low = start + (at >> 3);
    return switch (bits) {
      case 8 -> codes[low];
      // Shifting left first brings the sign of the four bits to the top.
      case 4 -> codes[low] << (28 - (at & 7)) >> 28;
      case 3 -> {
        // Three bits may lie across two bytes.
        int pair = (at & 7) > 5 ? codes[low] & 0xff | codes[low + 1] << 8 : codes[low];
        yield (pair >> (at & 7) & 7) * 2 - 7;
      }
      case 2 -> (codes[low] >> (at & 7) & 3) * 2 - 3;
      default -> (codes[low] >> (at & 7) & 1) * 2 - 1;
    };
  }

  /** Writes a code where {@link #code} reads it; the bits there must be 0. */
  public void put(byte[] codes, int start, int column, int code) {
    int at = column * bits;
    int low = start + (at >> 3);
    int stored = (isOdd() ? code + largest() >> 1 : code) & (1 << bits) - 1;
    int shifted = stored << (at & 7);
    codes[low] |= (byte) shifted;
    if (shifted > 0xff) {
      codes[low + 1] |= (byte) (shifted >> 8);
    }
  }

  /**
   * Writes {@code count} codes from a column on, where {@link #code} reads them; the bits there must be 0.
   *
   * @param column a multiple of 8, where a byte begins
   */
  public void put(byte[] codes, int start, int column, int[] values, int count) {
    int done = 0;
    if (bits == 8) {
      for (; done < count; done++) {
        codes[start + column + done] = (byte) values[done];
      }
    } else if (bits == 4) {
      for (; done + 2 <= count; done += 2) {
        codes[start + (column + done) / 2] = (byte) (values[done] & 15 | values[done + 1] << 4);
      }
    } else if (bits == 1) {
      for (; done + 8 <= count; done += 8) {
        int eight = 0;
        for (int i = 0; i < 8; i++) {
          // 1 stands for itself, -1 for a bit that is not set.
          eight |= (values[done + i] + 1 >> 1) << i;
        }
        codes[start + (column + done) / 8] = (byte) eight;
      }
    }
    for (; done < count; done++) {
      put(codes, start, column + done, values[done]);
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
