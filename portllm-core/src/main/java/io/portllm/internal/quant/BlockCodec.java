package io.portllm.internal.quant;

import io.portllm.DType;
import java.nio.ByteBuffer;

/**
 * Reads and writes blocks of one quantised type, bit for bit as the reference code of ggml does when it is compiled without contraction of
 * floating-point operations. Implementations are safe for use by many threads.
 */
public interface BlockCodec {
  /** The type. */
  DType type();

  /**
   * Reads the values of whole blocks.
   *
   * @param blocks little-endian; read by absolute index
   * @param at the index of the first block's first byte
   * @param values receives the elements
   * @param from the index of the first
   * @param elements how many, a multiple of {@link DType#blockElements}
   */
  void dequantise(ByteBuffer blocks, int at, float[] values, int from, int elements);

  /** Whether {@link #quantise} works: some types cannot be written without an importance matrix. */
  boolean quantises();

  /**
   * Writes finite values as whole blocks.
   *
   * @param values the elements
   * @param from the index of the first
   * @param elements how many, a multiple of {@link DType#blockElements}
   * @param blocks little-endian; written by absolute index
   * @param at the index of the first block's first byte
   * @throws UnsupportedOperationException if this type is not one that it {@link #quantises}
   */
  void quantise(float[] values, int from, int elements, ByteBuffer blocks, int at);
}
