package io.portllm.internal.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.portllm.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** A CUDA stream. */
final class CudaStream implements DeviceStream {
  private static final int THREADS = 256;
  /** Rows and columns that a block of the product kernel covers. */
  private static final int PRODUCT_ROWS = 128;
  private static final int PRODUCT_COLUMNS = 128;
  /** Columns that keep a block of the kernels for few ranks busy. */
  private static final int LEAST_NARROW_COLUMNS = 512;
  /** Columns that a block of the kernels for few ranks covers at least, and how many of its blocks a multiprocessor holds. */
  private static final int NARROW_COLUMNS = 1024;
  private static final int NARROW_BLOCKS_EACH = 2;
  /** Blocks of the kernel for sums of any operands for each multiprocessor. */
  private static final int SUM_BLOCKS_EACH = 16;
  private static final int MOST_PARAMETERS = 16;

  private final CudaDevice device;
  private final long stream;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment values = arena.allocate(JAVA_LONG, MOST_PARAMETERS);
  private final MemorySegment pointers = arena.allocate(JAVA_LONG, MOST_PARAMETERS);
  private boolean closed;

  CudaStream(CudaDevice device, long stream) {
    this.device = device;
    this.stream = stream;
    for (int i = 0; i < MOST_PARAMETERS; i++) {
      pointers.setAtIndex(JAVA_LONG, i, values.address() + 8L * i);
    }
  }

  /** Longs, ints and floats, in the order of the kernel's parameters. */
  private void launch(DType type, String kernel, long blocks, Object... parameters) {
    for (int i = 0; i < parameters.length; i++) {
      if (parameters[i] instanceof Long number) {
        values.setAtIndex(JAVA_LONG, i, number);
      } else if (parameters[i] instanceof Integer number) {
        values.set(JAVA_INT, 8L * i, number);
      } else {
        values.set(JAVA_FLOAT, 8L * i, (Float) parameters[i]);
      }
    }
    device.enter().launch(device.function(type, kernel), Math.toIntExact(blocks), THREADS, stream, pointers);
  }

  /** Blocks for {@code work} steps of a thread each. With one step for each thread, kernels come closest to the memory's bandwidth. */
  private static long blocks(long work) {
    return Math.max(1, Math.min((work + THREADS - 1) / THREADS, Integer.MAX_VALUE));
  }

  /** Blocks for elements of this type, of which a thread takes 16 bytes at a time. */
  private static long blocks(DType type, long count) {
    return blocks((count * type.bytes() + 15) / 16);
  }

  @Override
  public void upload(ByteBuffer host, long address) {
    device.enter().upload(CudaDevice.address(host, host.position()), address, host.remaining(), stream);
  }

  @Override
  public void download(long address, ByteBuffer host) {
    device.enter().download(address, CudaDevice.address(host, host.position()), host.remaining(), stream);
  }

  @Override
  public void copy(long from, long to, long bytes) {
    device.enter().copy(from, to, bytes, stream);
  }

  @Override
  public void clear(long address, long bytes) {
    device.enter().fill(address, (byte) 0, bytes, stream);
  }

  @Override
  public void flip(long target, long mask, long bytes) {
    launch(DType.F32, "flip", blocks((bytes + 15) / 16), target, mask, bytes);
  }

  @Override
  public void mergeValues(DType type, long source, long target, DType stored, long values, long count, float factor, long counts) {
    launch(type, "values_" + stored, blocks(type, count), source, target, values, count, factor, counts);
  }

  @Override
  public void mergeDifference(DType type, long source, long target, long tuned, long base, long count, float factor, long counts) {
    launch(type, "difference", blocks(type, count), source, target, tuned, base, count, factor, counts);
  }

  @Override
  public void mergeRuns(DType type, long source, long target, List<Run> runs, long count, long counts) {
    boolean areDifferences = runs.get(0).base() != 0;
    List<Object> parameters = new ArrayList<>(List.of(source, target, count));
    for (Run run : runs) {
      parameters.add(run.tuned());
      if (areDifferences) {
        parameters.add(run.base());
      }
    }
    runs.forEach(run -> parameters.add(run.factor()));
    parameters.add(counts);
    launch(type, (areDifferences ? "differences" : "values") + runs.size(), blocks(type, count), parameters.toArray());
  }

  @Override
  public void mergeSum(DType type, long source, long target, long count, long area, long operands, int operandCount, long counts) {
    long blocks = Math.min(blocks(type, count), (long) SUM_BLOCKS_EACH * device.multiprocessors());
    launch(type, "sum", blocks, source, target, count, area, operands, operandCount, counts);
  }

  @Override
  public void mergeProduct(DType type, long source, long target, Product product, long count, float factor, long counts) {
    int columns = product.columns();
    boolean isNarrow = product.column() == 0 && columns % 8 == 0 && columns >= LEAST_NARROW_COLUMNS && count % (4L * columns) == 0;
    if (isNarrow && Kernels.isFewRanks(product.rank())) {
      mergeNarrow(type, source, target, product, count / columns, factor, counts);
      return;
    }
    long rows = (product.column() + count + columns - 1) / columns;
    long blocks = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS * ((columns + PRODUCT_COLUMNS - 1) / PRODUCT_COLUMNS);
    launch(
        type,
        product.isExact() ? "exactProduct" : "product",
        blocks,
        source,
        target,
        product.left(),
        product.right(),
        count,
        (long) product.column(),
        columns,
        product.rank(),
        factor,
        counts);
  }

  /** Each thread takes some columns; as many blocks as run at a time share the rows. */
  private void mergeNarrow(DType type, long source, long target, Product product, long rows, float factor, long counts) {
    long least = (product.columns() + NARROW_COLUMNS - 1) / NARROW_COLUMNS;
    launch(
        type,
        (product.isExact() ? "exactNarrow" : "narrow") + product.rank(),
        Math.max(least, NARROW_BLOCKS_EACH * (long) device.multiprocessors()),
        source,
        target,
        product.left(),
        product.right(),
        rows,
        product.columns(),
        factor,
        counts);
  }

  @Override
  public void mergeSparse(DType type, long source, long target, long positions, long values, long count, float factor, long counts) {
    launch(type, "sparse", blocks(count), source, target, positions, values, count, factor, counts);
  }

  @Override
  public void mergeTiles(
      DType type, long source, long target, long count, long area, long operands, long tiles, long offsets, long places, int tileCount,
      long counts) {
    launch(type, "tiles", tileCount, source, target, count, area, operands, tiles, offsets, places, counts);
  }

  @Override
  public long mark() {
    long event = device.enter().createEvent();
    device.enter().recordEvent(event, stream);
    return event;
  }

  @Override
  public void await(long mark) {
    device.enter().await(stream, mark);
  }

  @Override
  public float millisBetween(long earlier, long later) {
    return device.enter().elapsed(earlier, later);
  }

  @Override
  public void synchronize() {
    device.enter().synchronize(stream);
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      try {
        synchronize();
      } finally {
        device.enter().destroyStream(stream);
        arena.close();
      }
    }
  }
}
