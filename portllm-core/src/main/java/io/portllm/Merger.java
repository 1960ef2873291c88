package io.portllm;

import io.portllm.internal.cuda.Gpu;
import io.portllm.internal.kernel.FastestMerger;
import io.portllm.internal.kernel.ScalarMerger;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * The arithmetic of merging: base weights and changes in, rounded weights out.
 *
 * <p>The contract that every implementation keeps, bit for bit:
 * <ul>
 *   <li>Values are widened to float32 and combined there; for F64 output, to float64.
 *   <li>An operand's change is {@code d × factor}, the factor rounded to the arithmetic's type; a factor of 1 is exact. {@code d} is
 *       the stored value, the difference {@code tuned − base}, or for low rank {@code Σₖ left[k] × right[k]} of float32 factors,
 *       accumulated from the first k to the last. No step is fused. A difference is taken in float32, or with an F64 side
 *       in float64, and then brought to the arithmetic's type.
 *   <li>The changes of several operands are added in their order, then their sum is added to the base weight.
 *   <li>The result is rounded once, to nearest even, into the chunk's type.
 *   <li>A weight keeps its bits, signed zeros and NaN payloads included, where its change is zero or the base weight is NaN or
 *       infinite.
 * </ul>
 *
 * <p>Implementations are safe for use by many threads.
 */
public interface Merger {
  /**
   * Adds changes to a run of weights, in place.
   *
   * @param chunk the base weights, replaced by the merged ones
   * @param operands the changes, added in this order
   * @return what rounding did
   */
  Rounding merge(Chunk chunk, List<Operand> operands);

  /** The implementation in plain Java, which defines the bits that all others must give. */
  static Merger scalar() {
    return ScalarMerger.INSTANCE;
  }

  /**
   * The fastest implementation that this JVM can run: loops in plain Java of which its compiler makes vector instructions; and on JDK 25
   * and later, with {@code --add-modules jdk.incubator.vector} and vectors of 256 bits or more, the Vector API's after the first billions
   * of weights, when the time to compile that pays. The bits are the same as those of {@link #scalar}.
   */
  static Merger fastest() {
    return FastestMerger.INSTANCE;
  }

  /**
   * The implementation on the first GPU of the CUDA driver; {@link #fastest} where there is none, after one line of log that says why, as
   * {@link io.portllm.cuda.Cuda#problem} does. The bits are the same, but for the payloads of results that are NaN, which counts as
   * {@link Rounding#nonFinite}.
   *
   * <p>Weights are copied to the GPU and back, so that this pays where the processor is slower than the copies.
   * {@link io.portllm.cuda.ResidentModel} keeps them there. F64 weights are merged by {@link #fastest}.
   */
  static Merger cuda() {
    return Gpu.MERGER;
  }

  /**
   * A run of elements of one tensor.
   *
   * @param dtype their type, an arithmetic one
   * @param bytes the elements, little-endian, from index 0 to the limit
   * @param elements how many
   */
  record Chunk(DType dtype, ByteBuffer bytes, int elements) {}

  /** One change to a part of a chunk. */
  sealed interface Operand {
    /** The first element of the chunk that it changes. */
    int start();

    /** How many elements it changes. */
    int elements();

    /** What the change is multiplied by. */
    double factor();
  }

  /**
   * Stored changes.
   *
   * @param dtype the type of {@code values}
   * @param values {@code elements} values, little-endian, from index 0
   */
  record Values(int start, int elements, double factor, DType dtype, ByteBuffer values) implements Operand {}

  /**
   * Changes given as the difference of two runs of weights.
   *
   * @param tunedType the type of {@code tuned}
   * @param tuned {@code elements} values, little-endian, from index 0
   * @param baseType the type of {@code base}
   * @param base {@code elements} values, little-endian, from index 0
   */
  record Difference(int start, int elements, double factor, DType tunedType, ByteBuffer tuned, DType baseType, ByteBuffer base)
      implements Operand {}

  /**
   * Changes given as a product of two matrices, of which the chunk is a part in row-major order.
   *
   * @param column the column of the first element
   * @param columns the columns of the whole product
   * @param rank the columns of {@code left} and rows of {@code right}
   * @param left rows × rank values, row-major, from the row of the first element on
   * @param right rank × columns values, row-major
   */
  record LowRank(int start, int elements, double factor, int column, int columns, int rank, float[] left, float[] right)
      implements Operand {}
}
