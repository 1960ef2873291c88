package io.portllm.io.internal.gguf.lora;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.quant.BlockCodecs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.LongUnaryOperator;

/** Rows of a factor in another order, some of them zero. */
final class FactorRows extends OneTensor {
  private final Tensor source;
  private final LongUnaryOperator rowOf;
  private final int rowBytes;

  private FactorRows(TensorInfo info, Tensor source, LongUnaryOperator rowOf) {
    super(info);
    this.source = source;
    this.rowOf = rowOf;
    this.rowBytes = Math.toIntExact(columns(source) * source.info().dtype().bytes());
  }

  /**
   * A matrix of rows of {@code source}.
   *
   * @param source of an arithmetic type; its rows are runs of the innermost dimension
   * @param rows how many the matrix has
   * @param rowOf which row of {@code source} each is; negative for a row of zeros
   */
  static Tensor of(Tensor source, long rows, LongUnaryOperator rowOf) {
    Shape shape = Shape.of(rows, columns(source));
    return new FactorRows(new TensorInfo(source.info().name(), source.info().dtype(), shape), source, rowOf).tensor();
  }

  /** The factor itself, or its values in memory if it is of a quantised type. */
  static Tensor arithmetic(Tensor factor) throws IOException {
    return factor.info().dtype().isQuantised() ? OneTensor.of(factor.info().name(), factor.info().shape(), values(factor)) : factor;
  }

  /** The transpose of a matrix, in memory. */
  static Tensor transposed(Tensor matrix) throws IOException {
    int rows = Math.toIntExact(matrix.info().shape().rows());
    int columns = Math.toIntExact(matrix.info().shape().columns());
    float[] values = values(matrix);
    float[] turned = new float[values.length];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        turned[column * rows + row] = values[row * columns + column];
      }
    }
    return OneTensor.of(matrix.info().name(), Shape.of(columns, rows), turned);
  }

  /** All values in float32. */
  static float[] values(Tensor tensor) throws IOException {
    TensorInfo info = tensor.info();
    DType type = info.dtype();
    int count = Math.toIntExact(info.elements());
    ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(info.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(0, bytes);
    float[] values = new float[count];
    if (type.isQuantised()) {
      BlockCodecs.of(type).dequantise(bytes, 0, values, 0, count);
    } else {
      Floats.read(type, bytes, 0, values, count, new int[count]);
    }
    return values;
  }

  private static long columns(Tensor tensor) {
    Shape shape = tensor.info().shape();
    return shape.dimension(shape.rank() - 1);
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    long at = offset;
    while (destination.hasRemaining()) {
      int within = (int) (at % rowBytes);
      int length = Math.min(rowBytes - within, destination.remaining());
      ByteBuffer part = destination.slice(destination.position(), length);
      long row = rowOf.applyAsLong(at / rowBytes);
      if (row < 0) {
        part.put(new byte[length]);
      } else {
        source.read(row * rowBytes + within, part);
      }
      destination.position(destination.position() + length);
      at += length;
    }
  }

  @Override
  public void verifyUnchanged() throws IOException {
    source.version().verifyUnchanged();
  }
}
