package io.portllm.internal.patch;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Some rows of another tensor, one below the other. */
public final class GatheredRows extends OneTensor {
  private final Tensor source;
  private final ImmutableLongArray rows;
  private final long rowBytes;

  private GatheredRows(Tensor source, ImmutableLongArray rows) {
    super(new TensorInfo(source.info().name(), source.info().dtype(), source.info().shape().withRows(rows.length())));
    this.source = source;
    this.rows = rows;
    this.rowBytes = source.info().shape().columns() * source.info().dtype().bytes();
  }

  /** The rows of {@code source} with these numbers, in this order. */
  public static Tensor of(Tensor source, ImmutableLongArray rows) {
    return new GatheredRows(source, rows).tensor();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    int limit = destination.limit();
    for (long at = offset; destination.position() < limit; ) {
      long inRow = at % rowBytes;
      int length = (int) Math.min(rowBytes - inRow, limit - destination.position());
      source.read(rows.get((int) (at / rowBytes)) * rowBytes + inRow, destination.limit(destination.position() + length));
      at += length;
    }
  }

  @Override
  public void verifyUnchanged() throws IOException {
    source.version().verifyUnchanged();
  }
}
