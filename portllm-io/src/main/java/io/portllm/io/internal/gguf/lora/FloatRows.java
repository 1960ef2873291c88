package io.portllm.io.internal.gguf.lora;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.OneTensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.function.LongFunction;

/** A float32 tensor each row of which is a row of some factor, scaled, and filled up with zeros. Computed as it is read. */
final class FloatRows extends OneTensor {
  /** A row of nothing but zeros. */
  static final Row ZEROS = new Row(null, 0, 0);

  /**
   * Where a row comes from.
   *
   * @param factor a matrix with no more columns than this tensor
   * @param row the row of it
   * @param scale what it is multiplied by in float32; 1 leaves the bits as they are
   */
  record Row(Tensor factor, long row, float scale) {}

  private final LongFunction<Row> rows;
  private final int columns;

  private FloatRows(TensorInfo info, LongFunction<Row> rows) {
    super(info);
    this.rows = rows;
    this.columns = Math.toIntExact(info.shape().dimension(info.shape().rank() - 1));
  }

  /** The tensor of these rows, which are runs of its innermost dimension. */
  static Tensor of(String name, Shape shape, LongFunction<Row> rows) {
    return new FloatRows(new TensorInfo(name, DType.F32, shape), rows).tensor();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    ByteBuffer target = destination.slice().order(ByteOrder.LITTLE_ENDIAN);
    float[] row = new float[columns];
    long at = offset / 4;
    while (target.hasRemaining()) {
      read(at / columns, row);
      int from = (int) (at % columns);
      int count = Math.min(columns - from, target.remaining() / 4);
      target.asFloatBuffer().put(row, from, count);
      target.position(target.position() + 4 * count);
      at += count;
    }
    destination.position(destination.limit());
  }

  private void read(long number, float[] target) throws IOException {
    Row row = rows.apply(number);
    Arrays.fill(target, 0);
    if (row == ZEROS) {
      return;
    }
    TensorInfo info = row.factor.info();
    int count = Math.toIntExact(info.shape().columns());
    int size = info.dtype().bytes();
    ByteBuffer bytes = ByteBuffer.allocate(count * size).order(ByteOrder.LITTLE_ENDIAN);
    row.factor.read(row.row * count * size, bytes);
    Floats.read(info.dtype(), bytes, 0, target, count, new int[count]);
    if (row.scale != 1) {
      for (int i = 0; i < count; i++) {
        target[i] *= row.scale;
      }
    }
  }
}
