package io.portllm.internal.patch;

import static io.portllm.Delta.Sparse.BLOCK;

import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.internal.codes.PositionLayout;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Decodes sparse changes, as many blocks at a time as a run of weights touches.
 *
 * <p>Trusts nothing that it reads: whatever the offsets and positions say, no more is allocated than the blocks can need, and every
 * contradiction is refused.
 */
final class SparseValues {
  private final Delta.Sparse delta;
  private final long elements;
  private final long count;

  private SparseValues(Delta.Sparse delta) {
    this.delta = delta;
    this.elements = delta.shape().elements();
    this.count = delta.values().shape().elements();
  }

  /** The changes of {@code count} weights from weight {@code first} on. */
  static float[] read(Delta.Sparse delta, long first, int count) throws IOException {
    float[] target = new float[count];
    if (count > 0) {
      new SparseValues(delta).read(first, target);
    }
    return target;
  }

  private void read(long first, float[] target) throws IOException {
    long firstBlock = first / BLOCK;
    int blocks = (int) ((first + target.length - 1) / BLOCK - firstBlock) + 1;
    ByteBuffer offsets = Reading.bytes(delta.offsets(), 16 * firstBlock, 16 * (blocks + 1));
    for (int i = 0; i < blocks; i++) {
      requireBlock(firstBlock + i, offsets, 16 * i);
    }
    long firstValue = offsets.getLong(0);
    long firstByte = offsets.getLong(8);
    float[] values = values(firstValue, (int) (offsets.getLong(16 * blocks) - firstValue));
    byte[] positions = Reading.bytes(delta.positions(), firstByte, (int) (offsets.getLong(16 * blocks + 8) - firstByte)).array();
    for (int i = 0; i < blocks; i++) {
      int valueAt = (int) (offsets.getLong(16 * i) - firstValue);
      int kept = (int) (offsets.getLong(16 * i + 16) - firstValue) - valueAt;
      int from = (int) (offsets.getLong(16 * i + 8) - firstByte);
      int to = (int) (offsets.getLong(16 * i + 24) - firstByte);
      int[] found =
          delta.coding() == Delta.Sparse.Coding.GAPS ? gaps(firstBlock + i, positions, from, to, kept) : bitmap(firstBlock + i, positions, from, to, kept);
      long start = (firstBlock + i) * BLOCK - first;
      for (int j = 0; j < kept; j++) {
        long at = start + found[j];
        if (at >= 0 && at < target.length) {
          target[(int) at] = values[valueAt + j];
        }
      }
    }
  }

  /** Checks what the offsets say of a block; they stand at byte {@code at}. */
  private void requireBlock(long block, ByteBuffer offsets, int at) throws IOException {
    long firstValue = offsets.getLong(at);
    long firstByte = offsets.getLong(at + 8);
    long lastValue = offsets.getLong(at + 16);
    long lastByte = offsets.getLong(at + 24);
    long allBytes = delta.positions().info().elements();
    boolean within = 0 <= firstValue && firstValue <= lastValue && lastValue <= count && 0 <= firstByte && firstByte <= lastByte && lastByte <= allBytes;
    boolean begins = block > 0 || firstValue == 0 && firstByte == 0;
    boolean ends = block + 1 < PositionLayout.blocks(elements) || lastValue == count && lastByte == allBytes;
    int length = PositionLayout.length(block, elements);
    boolean gaps = delta.coding() == Delta.Sparse.Coding.GAPS;
    long kept = lastValue - firstValue;
    long bytes = lastByte - firstByte;
    long leastBytes = gaps ? kept : (length + 7) / 8;
    long mostBytes = gaps ? kept + length / PositionLayout.SKIP : leastBytes;
    if (!within || !begins || !ends || kept > length || bytes < leastBytes || bytes > mostBytes) {
      throw malformed(
          delta.offsets(),
          "must rise from 0 to the numbers of values and of position bytes, within what a block can hold, but block " + block + " has values "
              + firstValue + " to " + lastValue + " and bytes " + firstByte + " to " + lastByte);
    }
  }

  private int[] gaps(long block, byte[] positions, int from, int to, int kept) throws IOException {
    int[] found = new int[kept];
    int length = PositionLayout.length(block, elements);
    int number = 0;
    int next = 0;
    for (int i = from; i < to; i++) {
      int gap = positions[i] & 0xff;
      next += gap;
      if (gap != PositionLayout.SKIP) {
        if (next >= length || number == kept) {
          throw wrongPositions(block, kept);
        }
        found[number++] = next++;
      }
    }
    if (number != kept) {
      throw wrongPositions(block, kept);
    }
    return found;
  }

  private int[] bitmap(long block, byte[] positions, int from, int to, int kept) throws IOException {
    int[] found = new int[kept];
    int length = PositionLayout.length(block, elements);
    int number = 0;
    for (int i = from; i < to; i++) {
      for (int bits = positions[i] & 0xff; bits != 0; bits &= bits - 1) {
        int position = 8 * (i - from) + Integer.numberOfTrailingZeros(bits);
        if (position >= length || number == kept) {
          throw wrongPositions(block, kept);
        }
        found[number++] = position;
      }
    }
    if (number != kept) {
      throw wrongPositions(block, kept);
    }
    return found;
  }

  private float[] values(long first, int length) throws IOException {
    return delta.values() instanceof Delta.Quantised quantised
        ? QuantisedValues.read(quantised, first, length)
        : Reading.floats(((Delta.Dense) delta.values()).values(), first, length);
  }

  private IOException wrongPositions(long block, int kept) {
    return malformed(
        delta.positions(),
        "must hold as many positions as there are values, within the tensor, but block " + block + " of " + PositionLayout.length(block, elements)
            + " weights and " + kept + " values does not");
  }

  private static IOException malformed(Tensor tensor, String message) {
    return tensor.version().malformed(tensor.info(), "PF-POSITIONS", message);
  }
}
