package io.portllm.io.internal.gguf.lens;

import io.portllm.internal.quant.BlockCodec;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Writes changed values as blocks. A block none of whose values changed keeps its bytes. For one thread. */
final class Requantiser {
  private final BlockCodec codec;
  private final float[] stored;

  /** Sums over all weights that were quantised. */
  private double change;
  private double error;
  private double overlap;
  private long changedBlocks;
  private long blocks;

  /** Weights that changed and whose value, as stored, did not; and those that were finite and, as stored, are not. */
  private long vanished;
  private long overflowed;

  /**
   * No blocks yet.
   *
   * @param codec of the type that is written
   * @param stored room for the most values that are written at a time
   */
  Requantiser(BlockCodec codec, float[] stored) {
    this.codec = codec;
    this.stored = stored;
  }

  /**
   * Writes blocks.
   *
   * @param old the blocks that the new base has, from index 0, if they are of the type that is written; otherwise null
   * @param before their values
   * @param after the values with the change
   * @param count how many values
   * @param target receives the blocks from index 0
   * @return whether all values that had to be quantised are finite; if not, not all blocks were written
   */
  boolean write(ByteBuffer old, float[] before, float[] after, int count, ByteBuffer target) {
    int elements = codec.type().blockElements();
    int bytes = codec.type().blockBytes();
    blocks += count / elements;
    int from = 0;
    while (from < count) {
      int to = from;
      while (to < count && (old == null || !Arrays.equals(before, to, to + elements, after, to, to + elements))) {
        to += elements;
      }
      if (to > from) {
        if (!areFinite(after, from, to)) {
          return false;
        }
        codec.quantise(after, from, to - from, target, from / elements * bytes);
        codec.dequantise(target, from / elements * bytes, stored, from, to - from);
        measure(before, after, from, to);
        count(old, target, from / elements * bytes, to / elements * bytes, bytes);
      }
      from = to;
      while (to < count && Arrays.equals(before, to, to + elements, after, to, to + elements)) {
        to += elements;
      }
      if (to > from && old != null) {
        target.put(from / elements * bytes, old, from / elements * bytes, (to - from) / elements * bytes);
        from = to;
      }
    }
    return true;
  }

  private static boolean areFinite(float[] values, int from, int to) {
    for (int i = from; i < to; i++) {
      if (!Float.isFinite(values[i])) {
        return false;
      }
    }
    return true;
  }

  private void count(ByteBuffer old, ByteBuffer target, int from, int to, int bytes) {
    for (int at = from; at < to; at += bytes) {
      if (old == null || target.slice(at, bytes).mismatch(old.slice(at, bytes)) >= 0) {
        changedBlocks++;
      }
    }
  }

  private void measure(float[] before, float[] after, int from, int to) {
    double changes = 0;
    double errors = 0;
    double overlaps = 0;
    for (int i = from; i < to; i++) {
      double wanted = (double) after[i] - before[i];
      double lost = (double) stored[i] - after[i];
      changes += wanted * wanted;
      errors += lost * lost;
      overlaps += wanted * ((double) stored[i] - before[i]);
      if (stored[i] == before[i] && after[i] != before[i]) {
        vanished++;
      }
      if (!Float.isFinite(stored[i])) {
        overflowed++;
      }
    }
    change += changes;
    error += errors;
    overlap += overlaps;
  }

  long vanished() {
    return vanished;
  }

  long overflowed() {
    return overflowed;
  }

  BlockSums sums() {
    return new BlockSums(change, error, overlap, changedBlocks, blocks);
  }
}
