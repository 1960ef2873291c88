package io.portllm.io.internal.gguf.lens;

import com.google.common.cache.Cache;
import com.google.common.cache.CacheBuilder;
import io.portllm.DType;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Reads Hugging Face tensors whose rows are the columns of GGUF tensors, by tiles, of which the last few are kept: at most 16 MiB. Safe for use
 * by many threads.
 */
final class TransposedTiles {
  /** Rows of the Hugging Face tensor in a tile: a multiple of every block, so that no block is decoded for two tiles. */
  private static final int ROWS = 256;

  private static final int COLUMNS = 64;
  private static final int KEPT = (16 << 20) / (4 * ROWS * COLUMNS);

  private final Decoding decoding;
  private final Cache<Key, byte[]> tiles = CacheBuilder.newBuilder().maximumSize(KEPT).build();

  private record Key(Stretch stretch, DType type, long row, long column) {}

  TransposedTiles(Decoding decoding) {
    this.decoding = decoding;
  }

  /** Reads elements counted from the start of the stretch. */
  void read(Stretch stretch, long first, int count, DType type, ByteBuffer target) throws IOException {
    long columns = stretch.rows();
    int size = type.bytes();
    for (long at = first; at < first + count; ) {
      long row = at / columns;
      long column = at % columns;
      int inTile = (int) (column % COLUMNS);
      int width = (int) Math.min(COLUMNS, columns - (column - inTile));
      int length = (int) Math.min(width - inTile, first + count - at);
      byte[] tile = tile(stretch, type, row - row % ROWS, column - inTile, width);
      target.put(tile, ((int) (row % ROWS) * width + inTile) * size, length * size);
      at += length;
    }
  }

  /** A tile in the order of the Hugging Face tensor. */
  private byte[] tile(Stretch stretch, DType type, long row, long column, int width) throws IOException {
    Key key = new Key(stretch, type, row, column);
    byte[] kept = tiles.getIfPresent(key);
    if (kept != null) {
      return kept;
    }
    int size = type.bytes();
    int height = (int) Math.min(ROWS, stretch.rowLength() - row);
    byte[] tile = new byte[height * width * size];
    ByteBuffer run = ByteBuffer.allocate(height * size);
    for (int i = 0; i < width; i++) {
      long element = stretch.ggufStart() + (column + i) * stretch.rowLength() + row;
      decoding.read(stretch.gguf(), element, height, stretch.shift(), type, run.clear());
      for (int j = 0; j < height; j++) {
        System.arraycopy(run.array(), j * size, tile, (j * width + i) * size, size);
      }
    }
    tiles.put(key, tile);
    return tile;
  }
}
