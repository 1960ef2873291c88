package io.portllm.internal.cuda;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * A queue of copies and kernels, done in their order while the host goes on. Used by one thread at a time.
 *
 * <p>The merging kernels read weights from {@code source} and write merged ones to {@code target}, which may be the same. Both, and the
 * changes, are addresses of device memory aligned to 16 bytes. {@code counts} is the address of four longs, to which the numbers of
 * touched, changed, overflowed and non-finite elements are added: {@link io.portllm.Rounding}, but with those whose bits changed
 * instead of those whose change vanished. The types of weights are those of {@link Kernels#runsOn}.
 */
public interface DeviceStream extends AutoCloseable {
  /** Elements of a tile of {@link #mergeTiles}. */
  int TILE = 1024;

  /** Copies the rest of a buffer of {@link Device#allocateHost}, which must not change before {@link #synchronize}. */
  void upload(ByteBuffer host, long address);

  /** Fills the rest of a buffer of {@link Device#allocateHost}, complete after {@link #synchronize}. */
  void download(long address, ByteBuffer host);

  /** Copies within the device. */
  void copy(long from, long to, long bytes);

  /** Sets bytes to zero. */
  void clear(long address, long bytes);

  /** Flips the bits of {@code target} that are set in {@code mask}, both aligned to 16 bytes. */
  void flip(long target, long mask, long bytes);

  /** Adds {@code factor · values}, which are of any type of {@link Kernels#runsOn}. */
  void mergeValues(DType type, long source, long target, DType stored, long values, long count, float factor, long counts);

  /** Adds {@code factor · (tuned − base)}, both of the weights' own type. */
  void mergeDifference(DType type, long source, long target, long tuned, long base, long count, float factor, long counts);

  /**
   * Adds two or three changes in one pass, each {@code factor · values} or each {@code factor · (tuned − base)}, of the weights' own type.
   */
  void mergeRuns(DType type, long source, long target, List<Run> runs, long count, long counts);

  /**
   * Adds any operands that all cover the run.
   *
   * @param area what the addresses in {@code operands} are counted from
   * @param operands records of 64 bytes, as merge.cu lays them out
   */
  void mergeSum(DType type, long source, long target, long count, long area, long operands, int operandCount, long counts);

  /** Adds {@code factor · left · right}, as {@link io.portllm.Merger.LowRank} defines it. */
  void mergeProduct(DType type, long source, long target, Product product, long count, float factor, long counts);

  /**
   * Adds changes to single elements.
   *
   * @param positions longs that rise: the elements, counted from {@code source}
   * @param values a float for each position
   */
  void mergeSparse(DType type, long source, long target, long positions, long values, long count, float factor, long counts);

  /**
   * Adds any operands to some tiles of {@value #TILE} elements.
   *
   * @param area what the addresses in {@code operands} are counted from
   * @param operands records of 64 bytes, as merge.cu lays them out
   * @param tiles longs: the numbers of the tiles
   * @param offsets ints, one more than tiles: where the operands of each tile begin in {@code places}
   * @param places ints: numbers of operands
   */
  void mergeTiles(
      DType type, long source, long target, long count, long area, long operands, long tiles, long offsets, long places, int tileCount,
      long counts);

  /** A mark in the queue, to be closed with the device. */
  long mark();

  /** Lets this stream wait until another one has come to a mark. */
  void await(long mark);

  /** Milliseconds that the device took from one mark to another, both passed. */
  float millisBetween(long earlier, long later);

  /** Waits until all is done. */
  void synchronize();

  /** Waits until all is done, and ends the stream. */
  @Override
  void close();

  /**
   * A change for each element of a run: that of {@code tuned} from {@code base}, or the values themselves where there is no base.
   *
   * @param tuned where the values are
   * @param base where those are that are subtracted from them, or 0
   */
  record Run(long tuned, long base, float factor) {}

  /**
   * Two factors on the device, float32 and row-major.
   *
   * @param left rows × rank values, from the row of the first element on
   * @param right rank × columns values
   * @param column the column of the first element
   * @param columns the columns of the product
   * @param rank the columns of {@code left}
   * @param isExact whether no product of two values is rounded, so that it may be fused with its sum
   */
  record Product(long left, long right, int column, int columns, int rank, boolean isExact) {}
}
