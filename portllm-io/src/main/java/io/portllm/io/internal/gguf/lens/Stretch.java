package io.portllm.io.internal.gguf.lens;

import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.internal.gguf.layout.Link;
import io.portllm.io.internal.gguf.layout.RowOrder;

/**
 * A {@link Link} counted in elements: a run of a GGUF tensor that is a run of a Hugging Face tensor.
 *
 * @param gguf the GGUF tensor
 * @param ggufStart the run's first element in it
 * @param source the name of the Hugging Face tensor
 * @param sourceStart the run's first element in it
 * @param elements the length of both runs
 * @param form how the elements of the two runs correspond
 * @param rowLength the elements of a row of the GGUF tensor, unless the form is {@link Form#SAME}
 * @param order the order of the rows
 * @param shift what the conversion adds to each value
 */
record Stretch(
    TensorInfo gguf, long ggufStart, String source, long sourceStart, long elements, Form form, long rowLength, RowOrder order, float shift) {
  /** How the elements of two runs correspond. */
  enum Form {
    /** One by one, in the same order. */
    SAME,
    /** Row by row, in another order. */
    PERMUTED,
    /** The rows of one are the columns of the other. */
    TRANSPOSED
  }

  /** The stretch that {@code link} links. */
  static Stretch of(Link link, TensorInfo gguf) {
    long rowLength = rowLength(gguf.shape());
    // One row or column is one piece, turned or not.
    boolean turned = link.transposed() && link.rows() > 1 && rowLength > 1;
    Form form = turned ? Form.TRANSPOSED : link.order() == RowOrder.SAME || link.rows() == 1 ? Form.SAME : Form.PERMUTED;
    return new Stretch(
        gguf,
        link.ggufRow() * rowLength,
        link.source(),
        link.sourceRow() * rowLength,
        link.rows() * rowLength,
        form,
        rowLength,
        link.order(),
        link.shift());
  }

  /** All of a tensor, as itself. */
  static Stretch whole(TensorInfo tensor) {
    return new Stretch(tensor, 0, tensor.name(), 0, tensor.elements(), Form.SAME, rowLength(tensor.shape()), RowOrder.SAME, 0);
  }

  /** The elements of a row of a tensor: of its innermost dimension, or one where there are no rows of more. */
  static long rowLength(Shape shape) {
    return shape.rank() < 2 ? 1 : shape.dimension(shape.rank() - 1);
  }

  /** The rows of the GGUF run. */
  long rows() {
    return rowLength == 0 ? 0 : elements / rowLength;
  }

  long ggufEnd() {
    return ggufStart + elements;
  }

  long sourceEnd() {
    return sourceStart + elements;
  }
}
