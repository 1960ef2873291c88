package io.portllm.testing;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import io.portllm.internal.cuda.Device;
import io.portllm.internal.cuda.DeviceStream;
import io.portllm.internal.cuda.Kernels;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * A device in host memory that merges with {@link Merger#scalar}. As strict as a real one: nothing is done before a stream is synchronized,
 * memory starts out dirty, and what was freed, or lies beyond what was allocated, cannot be reached.
 */
public final class FakeDevice implements Device {
  private static final DType[] CODES = {DType.F64, DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2};

  private final long size;
  private final TreeMap<Long, ByteBuffer> memory = new TreeMap<>();
  private final Set<ByteBuffer> host = Collections.newSetFromMap(new IdentityHashMap<>());
  private long next = 1 << 20;
  private long used;
  private int launches;

  /** A device with {@code size} bytes of memory. */
  public FakeDevice(long size) {
    this.size = size;
  }

  /** Bytes that are allocated. */
  public synchronized long used() {
    return used;
  }

  /** Buffers in host memory that are allocated. */
  public synchronized int hostBuffers() {
    return host.size();
  }

  /** Kernels that were started. */
  public synchronized int launches() {
    return launches;
  }

  @Override
  public String name() {
    return "fake";
  }

  @Override
  public long totalBytes() {
    return size;
  }

  @Override
  public synchronized long freeBytes() {
    return size - used;
  }

  @Override
  public synchronized long allocate(long bytes) {
    if (bytes > size - used) {
      throw new IllegalStateException("cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY");
    }
    ByteBuffer piece = ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < bytes; i++) {
      piece.put(i, (byte) 0xa5);
    }
    long address = next;
    memory.put(address, piece);
    next += (bytes / 256 + 2) * 256;
    used += bytes;
    return address;
  }

  @Override
  public synchronized void free(long address) {
    ByteBuffer piece = memory.remove(address);
    if (piece == null) {
      throw new IllegalStateException("cuMemFree_v2 failed: CUDA_ERROR_INVALID_VALUE");
    }
    used -= piece.capacity();
  }

  @Override
  public synchronized ByteBuffer allocateHost(int bytes) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
    host.add(buffer);
    return buffer;
  }

  @Override
  public synchronized void freeHost(ByteBuffer buffer) {
    if (!host.remove(buffer)) {
      throw new IllegalStateException("cuMemFreeHost failed: CUDA_ERROR_INVALID_VALUE");
    }
  }

  @Override
  public DeviceStream newStream() {
    return new Stream();
  }

  /** The memory from an address on. */
  private synchronized ByteBuffer at(long address, long bytes) {
    Map.Entry<Long, ByteBuffer> piece = memory.floorEntry(address);
    if (piece == null || address - piece.getKey() + bytes > piece.getValue().capacity()) {
      throw new IllegalStateException("CUDA_ERROR_ILLEGAL_ADDRESS");
    }
    return piece.getValue().slice((int) (address - piece.getKey()), (int) bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private final class Stream implements DeviceStream {
    private final List<Runnable> queue = new ArrayList<>();

    private void launch(DType type, long source, long target, long count, long counts, Supplier<List<Operand>> operands) {
      if (!Kernels.runsOn(type) || source % 16 != 0 || target % 16 != 0) {
        throw new IllegalStateException("CUDA_ERROR_INVALID_VALUE");
      }
      synchronized (FakeDevice.this) {
        launches++;
      }
      queue.add(() -> merge(type, source, target, count, counts, operands.get()));
    }

    private void merge(DType type, long source, long target, long count, long counts, List<Operand> all) {
      ByteBuffer weights = ByteBuffer.allocate((int) (count * type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
      weights.put(0, at(source, weights.capacity()), 0, weights.capacity());
      Rounding rounding = Merger.scalar().merge(new Chunk(type, weights, (int) count), all);
      ByteBuffer out = at(target, weights.capacity());
      // A kernel writes only what an operand covers.
      for (Operand operand : all) {
        int at = operand.start() * type.bytes();
        out.put(at, weights, at, operand.elements() * type.bytes());
      }
      ByteBuffer sums = at(counts, 32);
      sums.putLong(0, sums.getLong(0) + rounding.touched());
      sums.putLong(8, sums.getLong(8) + rounding.touched() - rounding.vanished());
      sums.putLong(16, sums.getLong(16) + rounding.overflowed());
      sums.putLong(24, sums.getLong(24) + rounding.nonFinite());
    }

    @Override
    public void upload(ByteBuffer buffer, long address) {
      ByteBuffer source = buffer.duplicate();
      queue.add(() -> at(address, source.remaining()).put(source.duplicate()));
    }

    @Override
    public void download(long address, ByteBuffer buffer) {
      ByteBuffer target = buffer.duplicate();
      queue.add(() -> target.duplicate().put(at(address, target.remaining())));
    }

    @Override
    public void copy(long from, long to, long bytes) {
      queue.add(() -> at(to, bytes).put(at(from, bytes)));
    }

    @Override
    public void clear(long address, long bytes) {
      queue.add(() -> at(address, bytes).put(new byte[(int) bytes]));
    }

    @Override
    public void flip(long target, long mask, long bytes) {
      queue.add(() -> {
        ByteBuffer flipped = at(target, bytes);
        ByteBuffer flips = at(mask, bytes);
        for (int i = 0; i < bytes; i++) {
          flipped.put(i, (byte) (flipped.get(i) ^ flips.get(i)));
        }
      });
    }

    @Override
    public void mergeValues(DType type, long source, long target, DType stored, long values, long count, float factor, long counts) {
      launch(type, source, target, count, counts, () ->
          List.of(new Values(0, (int) count, factor, stored, at(values, count * stored.bytes()))));
    }

    @Override
    public void mergeDifference(DType type, long source, long target, long tuned, long base, long count, float factor, long counts) {
      launch(type, source, target, count, counts, () ->
          List.of(new Difference(
              0, (int) count, factor, type, at(tuned, count * type.bytes()), type, at(base, count * type.bytes()))));
    }

    @Override
    public void mergeRuns(DType type, long source, long target, List<Run> runs, long count, long counts) {
      boolean areDifferences = runs.get(0).base() != 0;
      if (runs.size() < 2 || runs.size() > 3 || runs.stream().anyMatch(run -> (run.base() != 0) != areDifferences)) {
        throw new IllegalStateException("CUDA_ERROR_NOT_FOUND");
      }
      long bytes = count * type.bytes();
      launch(type, source, target, count, counts, () -> runs.stream()
          .<Operand>map(run -> areDifferences
              ? new Difference(0, (int) count, run.factor(), type, at(run.tuned(), bytes), type, at(run.base(), bytes))
              : new Values(0, (int) count, run.factor(), type, at(run.tuned(), bytes)))
          .toList());
    }

    @Override
    public void mergeSum(DType type, long source, long target, long count, long area, long operands, int operandCount, long counts) {
      launch(type, source, target, count, counts, () -> {
        List<Operand> all = new ArrayList<>();
        for (int i = 0; i < operandCount; i++) {
          all.add(operand(area, at(operands + 64L * i, 64)));
        }
        return all;
      });
    }

    @Override
    public void mergeProduct(DType type, long source, long target, Product product, long count, float factor, long counts) {
      int rows = (int) ((product.column() + count + product.columns() - 1) / product.columns());
      launch(type, source, target, count, counts, () ->
          List.of(new LowRank(
              0, (int) count, factor, product.column(), product.columns(), product.rank(), floats(product.left(), rows * product.rank()),
              floats(product.right(), product.rank() * product.columns()))));
    }

    @Override
    public void mergeSparse(DType type, long source, long target, long positions, long values, long count, float factor, long counts) {
      queue.add(() -> {
        ByteBuffer places = at(positions, 8 * count);
        for (int i = 0; i < count; i++) {
          long place = places.getLong(8 * i) * type.bytes();
          ByteBuffer weight = ByteBuffer.allocate(type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
          weight.put(0, at(source + place, type.bytes()), 0, type.bytes());
          Operand one = new Values(0, 1, factor, DType.F32, at(values + 4L * i, 4));
          Rounding rounding = Merger.scalar().merge(new Chunk(type, weight, 1), List.of(one));
          at(target + place, type.bytes()).put(weight);
          ByteBuffer sums = at(counts, 32);
          sums.putLong(0, sums.getLong(0) + rounding.touched());
          sums.putLong(8, sums.getLong(8) + rounding.touched() - rounding.vanished());
          sums.putLong(16, sums.getLong(16) + rounding.overflowed());
          sums.putLong(24, sums.getLong(24) + rounding.nonFinite());
        }
      });
    }

    @Override
    public void mergeTiles(
        DType type, long source, long target, long count, long area, long operands, long tiles, long offsets, long places, int tileCount,
        long counts) {
      queue.add(() -> {
        for (int i = 0; i < tileCount; i++) {
          int first = (int) (at(tiles, 8L * tileCount).getLong(8 * i) * TILE);
          int length = (int) Math.min(TILE, count - first);
          List<Operand> all = new ArrayList<>();
          ByteBuffer starts = at(offsets, 4L * (tileCount + 1));
          for (int place = starts.getInt(4 * i); place < starts.getInt(4 * i + 4); place++) {
            int number = at(places + 4L * place, 4).getInt(0);
            all.add(part(operand(area, at(operands + 64L * number, 64)), first, length));
          }
          long skipped = (long) first * type.bytes();
          merge(type, source + skipped, target + skipped, length, counts, all);
        }
      });
    }

    private Operand operand(long area, ByteBuffer record) {
      int start = (int) record.getLong(0);
      int elements = (int) record.getLong(8);
      float factor = record.getFloat(52);
      DType first = CODES[record.getInt(44)];
      DType second = CODES[record.getInt(48)];
      long a = area + record.getLong(16);
      long b = area + record.getLong(24);
      int columns = record.getInt(56);
      int rank = record.getInt(60);
      int column = (int) record.getLong(32);
      return switch (record.getInt(40)) {
        case 0 -> new Values(start, elements, factor, first, at(a, (long) elements * first.bytes()));
        case 1 -> new Difference(
            start, elements, factor, first, at(a, (long) elements * first.bytes()), second, at(b, (long) elements * second.bytes()));
        default -> new LowRank(
            start, elements, factor, column, columns, rank, floats(a, (column + elements + columns - 1) / columns * rank),
            floats(b, rank * columns));
      };
    }

    /** The part of an operand within a tile. */
    private Operand part(Operand operand, int first, int length) {
      int from = Math.max(first, operand.start());
      int count = Math.min(first + length, operand.start() + operand.elements()) - from;
      int skipped = from - operand.start();
      if (operand instanceof Values values) {
        return new Values(from - first, count, values.factor(), values.dtype(), slice(values.dtype(), values.values(), skipped));
      }
      if (operand instanceof Difference difference) {
        return new Difference(
            from - first, count, difference.factor(), difference.tunedType(), slice(difference.tunedType(), difference.tuned(), skipped),
            difference.baseType(), slice(difference.baseType(), difference.base(), skipped));
      }
      LowRank product = (LowRank) operand;
      int at = product.column() + skipped;
      int left = at / product.columns() * product.rank();
      return new LowRank(
          from - first, count, product.factor(), at % product.columns(), product.columns(), product.rank(),
          Arrays.copyOfRange(product.left(), left, product.left().length), product.right());
    }

    private ByteBuffer slice(DType type, ByteBuffer values, int first) {
      int from = first * type.bytes();
      return values.slice(from, values.limit() - from).order(ByteOrder.LITTLE_ENDIAN);
    }

    private float[] floats(long address, int count) {
      float[] values = new float[count];
      at(address, 4L * count).asFloatBuffer().get(values);
      return values;
    }

    @Override
    public long mark() {
      return 0;
    }

    @Override
    public void await(long mark) {}

    @Override
    public float millisBetween(long earlier, long later) {
      return 0;
    }

    @Override
    public void synchronize() {
      List<Runnable> work = new ArrayList<>(queue);
      queue.clear();
      work.forEach(Runnable::run);
    }

    @Override
    public void close() {
      synchronize();
    }
  }
}
