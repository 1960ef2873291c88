package io.portllm.internal.patch;

import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/** The rows of a tensor in another order, with rows of zeros between them. */
final class RowView extends OneTensor {
  /** Stands for a row of zeros. */
  static final int ZEROS = -1;

  private final Tensor source;
  private final int[] rows;
  private final boolean negative;
  private final long rowBytes;

  private RowView(Tensor source, int[] rows, boolean negative) {
    super(new TensorInfo(source.info().name(), source.info().dtype(), source.info().shape().withRows(rows.length)));
    this.source = source;
    this.rows = rows;
    this.negative = negative;
    this.rowBytes = source.info().shape().columns() * source.info().dtype().bytes();
  }

  /**
   * The rows of {@code source} with these numbers, in this order.
   *
   * @param source of an arithmetic type
   * @param rows numbers of rows, or {@link #ZEROS}; not copied, and must not change
   * @param negative whether the zeros are negative
   */
  static Tensor of(Tensor source, int[] rows, boolean negative) {
    return new RowView(source, rows, negative).tensor();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    int limit = destination.limit();
    for (long at = offset; destination.position() < limit; ) {
      int row = (int) (at / rowBytes);
      long inRow = at % rowBytes;
      int after = row + 1;
      while (after < rows.length && (after - row) * rowBytes - inRow < limit - destination.position() && follows(after)) {
        after++;
      }
      int length = (int) Math.min((after - row) * rowBytes - inRow, limit - destination.position());
      destination.limit(destination.position() + length);
      if (rows[row] == ZEROS) {
        Zeros.put(destination, source.info().dtype().bytes(), negative);
      } else {
        source.read(rows[row] * rowBytes + inRow, destination);
      }
      destination.limit(limit);
      at += length;
    }
  }

  /** Whether row {@code index} lies in the source where the row before it ends. */
  private boolean follows(int index) {
    return rows[index] == ZEROS ? rows[index - 1] == ZEROS : rows[index - 1] != ZEROS && rows[index] == rows[index - 1] + 1;
  }

  @Override
  public void verifyUnchanged() throws IOException {
    source.version().verifyUnchanged();
  }
}
