package io.portllm.internal.quant;

import io.portllm.DType;
import java.nio.ByteBuffer;

/** A codec that knows one block: runs are copied through a small array, in which loops are fast whatever the buffer. */
abstract class BlockwiseCodec implements BlockCodec {
  private static final int SCRATCH_BYTES = 8192;
  private static final int SEARCHED = 32;

  private final DType type;
  private final boolean quantises;

  BlockwiseCodec(DType type, boolean quantises) {
    this.type = type;
    this.quantises = quantises;
  }

  /**
   * Reads the values of one block.
   *
   * @param block holds the block from {@code at} on
   * @param values receives the elements from {@code from} on
   */
  abstract void read(byte[] block, int at, float[] values, int from);

  /** Writes finite values as one block, every byte of it. */
  void write(float[] values, int from, byte[] block, int at) {
    throw new UnsupportedOperationException("cannot write " + type);
  }

  /** What writes a run: block by block with {@link #write}, unless a type needs working memory or is faster at several. */
  BlockWriter writer() {
    return (values, from, blocks, target, at) -> {
      for (int i = 0; i < blocks; i++) {
        write(values, from + i * type.blockElements(), target, at + i * type.blockBytes());
      }
    };
  }

  @Override
  public final DType type() {
    return type;
  }

  @Override
  public final boolean quantises() {
    return quantises;
  }

  @Override
  public final void dequantise(ByteBuffer blocks, int at, float[] values, int from, int elements) {
    int left = blocks(elements);
    int step = Math.min(left, SCRATCH_BYTES / type.blockBytes());
    byte[] scratch = new byte[step * type.blockBytes()];
    int source = at;
    int target = from;
    while (left > 0) {
      int count = Math.min(left, step);
      blocks.get(source, scratch, 0, count * type.blockBytes());
      for (int i = 0; i < count; i++) {
        read(scratch, i * type.blockBytes(), values, target);
        target += type.blockElements();
      }
      source += count * type.blockBytes();
      left -= count;
    }
  }

  @Override
  public final void quantise(float[] values, int from, int elements, ByteBuffer blocks, int at) {
    if (!quantises) {
      throw new UnsupportedOperationException("cannot write " + type);
    }
    int left = blocks(elements);
    // A multiple of what a search handles at once.
    int step = Math.min(left, SCRATCH_BYTES / type.blockBytes() / SEARCHED * SEARCHED);
    byte[] scratch = new byte[step * type.blockBytes()];
    BlockWriter writer = writer();
    int source = from;
    int target = at;
    while (left > 0) {
      int count = Math.min(left, step);
      writer.write(values, source, count, scratch, 0);
      source += count * type.blockElements();
      blocks.put(target, scratch, 0, count * type.blockBytes());
      target += count * type.blockBytes();
      left -= count;
    }
  }

  private int blocks(int elements) {
    if (elements % type.blockElements() != 0) {
      throw new IllegalArgumentException(type + " has blocks of " + type.blockElements() + " elements, but there are " + elements);
    }
    return elements / type.blockElements();
  }
}
