package io.portllm.io.internal.exact;

import io.portllm.DType;
import java.nio.ByteBuffer;

/**
 * The elements of a tensor as whole numbers of 1, 2, 4 or 8 bytes, and the differences of two runs of them.
 *
 * <p>A floating-point word is first put in order: its sign bit is flipped if it is clear, and all bits are flipped if it is set. Words of
 * neighbouring values are then neighbouring numbers. Differences wrap around, so that any word can become any other, and are folded:
 * 0, -1, 1, -2, 2, … become 0, 1, 2, 3, 4, ….
 *
 * @param bytes the bytes of a word
 * @param ordered whether words are put in order before they are subtracted
 */
public record Words(int bytes, boolean ordered) {
  /** The words of a type: its elements, the halves of complex ones, and bytes where elements are smaller. */
  public static Words of(DType type) {
    return switch (type) {
      case F64 -> new Words(8, true);
      case I64, U64 -> new Words(8, false);
      case F32, C64 -> new Words(4, true);
      case I32, U32 -> new Words(4, false);
      case F16, BF16 -> new Words(2, true);
      case I16, U16 -> new Words(2, false);
      case F8_E4M3, F8_E5M2, F8_E4M3FNUZ, F8_E5M2FNUZ -> new Words(1, true);
      default -> new Words(1, false);
    };
  }

  /**
   * The folded differences of two runs.
   *
   * @param before {@code count} words, little-endian, from index 0
   * @param after {@code count} words, little-endian, from index 0
   * @param differences receives {@code count} numbers
   * @param scratch room for {@code count} numbers
   */
  public void subtract(ByteBuffer before, ByteBuffer after, int count, long[] differences, long[] scratch) {
    read(before, scratch, count);
    read(after, differences, count);
    int shift = 64 - 8 * bytes;
    long sign = ordered ? Long.MIN_VALUE : 0;
    long mask = -1L >>> shift;
    for (int i = 0; i < count; i++) {
      // The word lies in the upper bits, where sums wrap around by themselves.
      long old = order(scratch[i] << shift, sign, shift);
      long made = order(differences[i] << shift, sign, shift);
      long difference = made - old >> shift;
      differences[i] = (difference << 1 ^ difference >> 63) & mask;
    }
  }

  /**
   * Adds folded differences to a run of words, in place.
   *
   * @param words {@code count} words, little-endian, from index 0
   * @param differences the numbers, of which those from {@code from} on are used
   * @param negated whether they are subtracted instead
   * @param scratch room for {@code count} numbers
   */
  public void add(ByteBuffer words, long[] differences, int from, int count, boolean negated, long[] scratch) {
    read(words, scratch, count);
    int shift = 64 - 8 * bytes;
    long sign = ordered ? Long.MIN_VALUE : 0;
    long flip = negated ? -1 : 0;
    for (int i = 0; i < count; i++) {
      long folded = differences[from + i];
      long difference = folded >>> 1 ^ -(folded & 1);
      // (d ^ -1) + 1 is -d.
      long made = order(scratch[i] << shift, sign, shift) + ((difference ^ flip) - flip << shift);
      scratch[i] = disorder(made, sign, shift) >>> shift;
    }
    write(scratch, words, count);
  }

  /** Words whose sign bit is set are turned around; the bits below the word stay clear. */
  private static long order(long word, long sign, int shift) {
    return sign == 0 ? word : word ^ (word >> 63 | sign) & -1L << shift;
  }

  private static long disorder(long word, long sign, int shift) {
    return sign == 0 ? word : word ^ (~(word >> 63) | sign) & -1L << shift;
  }

  private void read(ByteBuffer buffer, long[] words, int count) {
    switch (bytes) {
      case 1 -> {
        for (int i = 0; i < count; i++) {
          words[i] = buffer.get(i);
        }
      }
      case 2 -> {
        for (int i = 0; i < count; i++) {
          words[i] = buffer.getShort(2 * i);
        }
      }
      case 4 -> {
        for (int i = 0; i < count; i++) {
          words[i] = buffer.getInt(4 * i);
        }
      }
      default -> {
        for (int i = 0; i < count; i++) {
          words[i] = buffer.getLong(8 * i);
        }
      }
    }
  }

  private void write(long[] words, ByteBuffer buffer, int count) {
    switch (bytes) {
      case 1 -> {
        for (int i = 0; i < count; i++) {
          buffer.put(i, (byte) words[i]);
        }
      }
      case 2 -> {
        for (int i = 0; i < count; i++) {
          buffer.putShort(2 * i, (short) words[i]);
        }
      }
      case 4 -> {
        for (int i = 0; i < count; i++) {
          buffer.putInt(4 * i, (int) words[i]);
        }
      }
      default -> {
        for (int i = 0; i < count; i++) {
          buffer.putLong(8 * i, words[i]);
        }
      }
    }
  }
}
