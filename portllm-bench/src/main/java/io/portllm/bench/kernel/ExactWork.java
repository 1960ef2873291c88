package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.Rounding;
import io.portllm.io.internal.exact.BlockDecoder;
import io.portllm.io.internal.exact.BlockEncoder;
import io.portllm.io.internal.exact.BrokenBlockException;
import io.portllm.io.internal.exact.Words;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Blocks of an exact patch, decoded and added to the bits of weights. There is one implementation. */
final class ExactWork implements KernelChange.Work {
  private final BlockDecoder decoder = new BlockDecoder();
  private final List<byte[]> blocks = new ArrayList<>();
  private final DType dtype;
  private final Words words;
  private final int elements;
  private final long bytes;

  /** {@code count} is a multiple of a block's words. */
  ExactWork(DType dtype, ByteBuffer before, ByteBuffer after, int count) {
    this.dtype = dtype;
    words = Words.of(dtype);
    elements = KernelChange.chunkElements(dtype);
    BlockEncoder encoder = new BlockEncoder();
    for (int first = 0; first < count; first += BlockEncoder.WORDS) {
      ByteBuffer old = KernelChange.part(before, dtype, first, BlockEncoder.WORDS);
      int length = encoder.encode(words, old, KernelChange.part(after, dtype, first, BlockEncoder.WORDS), BlockEncoder.WORDS);
      blocks.add(Arrays.copyOf(encoder.bytes(), length));
    }
    bytes = 2L * count * dtype.bytes() + blocks.stream().mapToLong(block -> block.length).sum();
  }

  @Override
  public Rounding change(int chunk, ByteBuffer weights, boolean isBack) throws IOException {
    for (int first = 0; first < elements; first += BlockEncoder.WORDS) {
      byte[] block = blocks.get((chunk * elements + first) / BlockEncoder.WORDS);
      System.arraycopy(block, 0, decoder.bytes(), 0, block.length);
      try {
        // No bytes say that nothing changed.
        if (block.length > 0) {
          decoder.decode(block.length, words, BlockEncoder.WORDS);
          decoder.addTo(KernelChange.part(weights, dtype, first, BlockEncoder.WORDS), words, 0, BlockEncoder.WORDS, isBack);
        }
      } catch (BrokenBlockException e) {
        throw new IOException(e);
      }
    }
    return Rounding.NONE;
  }

  @Override
  public long bytes() {
    return bytes;
  }
}
