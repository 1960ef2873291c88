package io.portllm.internal.kernel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * Elements in the order in which {@link StagedMerger} works on them: as many planes as elements lie in a word of 32 bits, first all that
 * lie in the lowest bits of their words, then all in the next. Words that follow on each other are then elements that do, and each loop
 * goes through whole words.
 */
final class Planes {
  /** The most elements of a block: the arrays that a loop touches then lie in the first-level cache. */
  static final int BLOCK = 2048;

  private final int count;
  private final float[] inOrder = new float[BLOCK];
  private final IntBuffer ints;
  private final FloatBuffer floats;

  /** So many planes: 1 for elements of 32 bits, 2 for elements of 16. */
  Planes(int count) {
    this.count = count;
    ByteBuffer memory = ByteBuffer.allocate(4 * BLOCK).order(ByteOrder.LITTLE_ENDIAN);
    this.ints = memory.asIntBuffer();
    this.floats = memory.asFloatBuffer();
  }

  /** How many there are. */
  int count() {
    return count;
  }

  /** An array of words for each plane of a block. */
  int[][] words() {
    return new int[count][BLOCK / count];
  }

  /** Takes the bits of {@code length} elements in all planes as float32 values. */
  void toFloats(int[][] bits, float[] values, int length) {
    int n = length / count;
    for (int plane = 0; plane < count; plane++) {
      ints.put(plane * n, bits[plane], 0, n);
    }
    floats.get(0, values, 0, length);
  }

  /** The other way. */
  void toBits(float[] values, int[][] bits, int length) {
    int n = length / count;
    floats.put(0, values, 0, length);
    for (int plane = 0; plane < count; plane++) {
      ints.get(plane * n, bits[plane], 0, n);
    }
  }

  /**
   * Takes the F16 in words as float32 values.
   *
   * @param bits overwritten
   * @return whether one is infinite or NaN; its value is then another
   */
  boolean widenF16(int[] words, int[][] bits, float[] values, int length) {
    int n = length / 2;
    Loops.widenLowF16(words, bits[0], n);
    Loops.widenHighF16(words, bits[1], n);
    toFloats(bits, values, length);
    Loops.scale(values, 0x1p112f, length);
    return Loops.anySpecialF16(words, n);
  }

  /** Elements in their own order, to be filled and then {@link #deal dealt}. */
  float[] inOrder() {
    return inOrder;
  }

  /** Puts {@code length} elements of {@link #inOrder} into planes. */
  void deal(float[] values, int length) {
    if (count == 1) {
      System.arraycopy(inOrder, 0, values, 0, length);
      return;
    }
    int n = length / count;
    for (int i = 0; i < n; i++) {
      values[i] = inOrder[2 * i];
      values[n + i] = inOrder[2 * i + 1];
    }
  }
}
