package io.portllm.io.internal.gguf.lens;

import java.nio.ByteBuffer;

/** Compares and moves elements of any size. */
final class Elements {
  private Elements() {}

  /** Writes a matrix of {@code rows} × {@code columns} elements of {@code size} bytes, from index 0, as its transpose. */
  static void transpose(ByteBuffer matrix, int rows, int columns, int size, ByteBuffer target) {
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        int from = i * columns + j;
        int to = j * rows + i;
        switch (size) {
          case 2 -> target.putShort(2 * to, matrix.getShort(2 * from));
          case 4 -> target.putInt(4 * to, matrix.getInt(4 * from));
          case 8 -> target.putLong(8 * to, matrix.getLong(8 * from));
          default -> target.put(to * size, matrix, from * size, size);
        }
      }
    }
  }

  /** Whether element {@code index} of both has the same bits. */
  static boolean equal(ByteBuffer one, ByteBuffer other, int index, int size) {
    return switch (size) {
      case 2 -> one.getShort(2 * index) == other.getShort(2 * index);
      case 4 -> one.getInt(4 * index) == other.getInt(4 * index);
      case 8 -> one.getLong(8 * index) == other.getLong(8 * index);
      default -> one.slice(index * size, size).equals(other.slice(index * size, size));
    };
  }
}
