package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.internal.buffer.DirectBuffers;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Reads runs of Hugging Face tensors from where their elements are in a GGUF file. Rows that lie near each other are read together: a head's
 * rows, which the conversion interleaves, in one piece. Safe for use by many threads.
 */
final class Gathering {
  /** The longest piece that is read for several rows. */
  private static final int LONGEST = Decoding.RUN;

  /** The elements between two rows that are read along rather than skipped. */
  private static final int LONGEST_GAP = LONGEST / 8;

  private final Decoding decoding;
  private final DirectBuffers buffers = new DirectBuffers(8 * LONGEST);
  private final TransposedTiles tiles;

  Gathering(Decoding decoding) {
    this.decoding = decoding;
    this.tiles = new TransposedTiles(decoding);
  }

  /** Reads {@code count} elements from {@code first} on into {@code target}, from its position. */
  void read(Source source, long first, int count, ByteBuffer target) throws IOException {
    DType type = source.info().dtype();
    long end = first + count;
    int next = source.stretchAt(first);
    for (long at = first; at < end; ) {
      Stretch stretch = next < source.stretches().size() ? source.stretches().get(next) : null;
      long start = stretch == null ? Long.MAX_VALUE : stretch.sourceStart();
      if (start > at) {
        long zeros = (Math.min(start, end) - at) * type.bytes();
        for (long i = 0; i < zeros; i++) {
          target.put((byte) 0);
        }
        at = Math.min(start, end);
        continue;
      }
      int length = (int) (Math.min(stretch.sourceEnd(), end) - at);
      read(stretch, at - stretch.sourceStart(), length, type, target);
      at += length;
      next++;
    }
  }

  /** Reads elements counted from the start of the stretch. */
  private void read(Stretch stretch, long first, int count, DType type, ByteBuffer target) throws IOException {
    switch (stretch.form()) {
      case SAME -> decoding.read(stretch.gguf(), stretch.ggufStart() + first, count, stretch.shift(), type, target);
      case PERMUTED -> permuted(stretch, first, count, type, target);
      case TRANSPOSED -> tiles.read(stretch, first, count, type, target);
    }
  }

  private void permuted(Stretch stretch, long first, int count, DType type, ByteBuffer target) throws IOException {
    long rowLength = stretch.rowLength();
    int size = type.bytes();
    long firstRow = first / rowLength;
    int rows = (int) ((first + count - 1) / rowLength - firstRow + 1);
    // Rows of the GGUF tensor in their order, each with the number of its row here in the lower half.
    long[] sorted = new long[rows];
    for (int i = 0; i < rows; i++) {
      sorted[i] = stretch.order().targetOf(firstRow + i) << 31 | i;
    }
    Arrays.sort(sorted);
    int start = target.position();
    for (int from = 0; from < rows; ) {
      int to = from + 1;
      long begin = sorted[from] >> 31;
      while (to < rows
          && ((sorted[to] >> 31) - begin + 1) * rowLength <= LONGEST
          && ((sorted[to] >> 31) - (sorted[to - 1] >> 31) - 1) * rowLength <= LONGEST_GAP) {
        to++;
      }
      if (to == from + 1) {
        Range row = new Range(firstRow + (sorted[from] & 0x7fff_ffff), rowLength, first, count);
        target.position(start + row.at() * size);
        long element = stretch.ggufStart() + begin * rowLength + row.column();
        decoding.read(stretch.gguf(), element, row.length(), stretch.shift(), type, target);
      } else {
        long element = stretch.ggufStart() + begin * rowLength;
        int length = (int) (((sorted[to - 1] >> 31) - begin + 1) * rowLength);
        ByteBuffer piece = buffers.lend(length * size);
        try {
          decoding.read(stretch.gguf(), element, length, stretch.shift(), type, piece);
          for (int i = from; i < to; i++) {
            Range row = new Range(firstRow + (sorted[i] & 0x7fff_ffff), rowLength, first, count);
            int inPiece = (int) (((sorted[i] >> 31) - begin) * rowLength) + row.column();
            target.put(start + row.at() * size, piece, inPiece * size, row.length() * size);
          }
        } finally {
          buffers.takeBack(piece);
        }
      }
      from = to;
    }
    target.position(start + count * size);
  }

  /** The part of a row that lies in a run. */
  private record Range(int at, int column, int length) {
    Range(long row, long rowLength, long first, int count) {
      this(
          (int) (Math.max(row * rowLength, first) - first),
          (int) (Math.max(row * rowLength, first) - row * rowLength),
          (int) (Math.min((row + 1) * rowLength, first + count) - Math.max(row * rowLength, first)));
    }
  }
}
