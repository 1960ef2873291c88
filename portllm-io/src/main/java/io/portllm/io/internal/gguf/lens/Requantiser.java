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
    // Four sums at a time need not wait for each other. Blocks have a multiple of four elements.
    Sum a = new Sum();
    Sum b = new Sum();
    Sum c = new Sum();
    Sum d = new Sum();
    for (int i = from; i < to; i += 4) {
      a.add(before[i], after[i], stored[i]);
      b.add(before[i + 1], after[i + 1], stored[i + 1]);
      c.add(before[i + 2], after[i + 2], stored[i + 2]);
      d.add(before[i + 3], after[i + 3], stored[i + 3]);
    }
    double lost = a.error + b.error + (c.error + d.error);
    change += a.change + b.change + (c.change + d.change);
    error += lost;
    overlap += a.overlap + b.overlap + (c.overlap + d.overlap);
    vanished += a.vanished + b.vanished + c.vanished + d.vanished;
    // The squares of finite floats have a finite sum.
    if (!Double.isFinite(lost)) {
      for (int i = from; i < to; i++) {
        overflowed += Float.isFinite(stored[i]) ? 0 : 1;
      }
    }
  }

  /** Sums over some weights. */
  private static final class Sum {
    private double change;
    private double error;
    private double overlap;
    private int vanished;

    void add(float before, float after, float stored) {
      double wanted = (double) after - before;
      double lost = (double) stored - after;
      double got = (double) stored - before;
      change += wanted * wanted;
      error += lost * lost;
      overlap += wanted * got;
      vanished += got == 0 & wanted != 0 ? 1 : 0;
    }
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
