package io.portllm.internal.compress;

import static io.portllm.Delta.Sparse.BLOCK;

import io.portllm.internal.codes.PositionLayout;
import io.portllm.internal.kernel.StoredDifference;
import io.portllm.internal.patch.FloatSource;
import io.portllm.internal.select.RadixSelect;
import io.portllm.internal.select.RadixSelect.Threshold;
import java.io.IOException;
import java.util.Arrays;

/**
 * The values of largest magnitude of a list, as a list of their own in the order in which they stand. Of values of just the threshold's
 * magnitude the first ones are kept.
 *
 * <p>Holds 20 bytes for each block of {@value io.portllm.Delta.Sparse#BLOCK} values; the values are read anew each time.
 */
final class Kept implements FloatSource {
  private final FloatSource source;
  private final long elements;
  private final Threshold threshold;
  private final long[] values;
  private final long[] gapBytes;
  private final int[] ties;
  private StoredDifference.Facts facts = StoredDifference.Facts.NONE;

  private Kept(FloatSource source, long elements, Threshold threshold) {
    this.source = source;
    this.elements = elements;
    this.threshold = threshold;
    int blocks = Math.toIntExact(PositionLayout.blocks(elements));
    this.values = new long[blocks + 1];
    this.gapBytes = new long[blocks + 1];
    this.ties = new int[blocks];
  }

  /** The {@code k} values of largest magnitude among {@code elements}, but none that are zero. Reads all values three times. */
  static Kept of(FloatSource source, long elements, long k) throws IOException {
    RadixSelect select = new RadixSelect(k);
    Statistics.forEachBlock(source, elements, select::add);
    select.endFirstPass();
    Statistics.forEachBlock(source, elements, select::add);
    Threshold found = select.threshold();
    Kept kept = new Kept(source, elements, found.bits() == 0 ? new Threshold(0, 0) : found);
    kept.count();
    return kept;
  }

  private void count() throws IOException {
    long left = threshold.ties();
    for (int block = 0; block < ties.length; block++) {
      float[] all = block(block);
      int equal = 0;
      for (float value : all) {
        equal += magnitude(value) == threshold.bits() ? 1 : 0;
      }
      ties[block] = (int) Math.min(left, equal);
      left -= ties[block];
      int[] positions = positions(block, all);
      values[block + 1] = values[block] + positions.length;
      int bytes = 0;
      int next = 0;
      float[] kept = new float[positions.length];
      for (int i = 0; i < positions.length; i++) {
        bytes += 1 + (positions[i] - next) / PositionLayout.SKIP;
        next = positions[i] + 1;
        kept[i] = all[positions[i]];
      }
      gapBytes[block + 1] = gapBytes[block] + bytes;
      facts = facts.and(StoredDifference.examine(kept, kept.length));
    }
  }

  private float[] block(int block) throws IOException {
    float[] all = new float[PositionLayout.length(block, elements)];
    source.read((long) block * BLOCK, all, 0, all.length);
    return all;
  }

  private static int magnitude(float value) {
    return Float.floatToRawIntBits(value) & 0x7fff_ffff;
  }

  private int[] positions(int block, float[] all) {
    int[] positions = new int[all.length];
    int found = 0;
    int tiesLeft = ties[block];
    for (int i = 0; i < all.length; i++) {
      int magnitude = magnitude(all[i]);
      if (magnitude > threshold.bits() || magnitude == threshold.bits() && tiesLeft-- > 0) {
        positions[found++] = i;
      }
    }
    return Arrays.copyOf(positions, found);
  }

  /** The number of values kept. */
  long size() {
    return values[ties.length];
  }

  /** The number of blocks of all values. */
  int blocks() {
    return ties.length;
  }

  /** The number of values kept in the blocks before this one. */
  long valuesBefore(int block) {
    return values[block];
  }

  /** The bytes that the positions of the blocks before this one take as gaps. */
  long gapBytesBefore(int block) {
    return gapBytes[block];
  }

  /** The positions of a block's values kept, counted from the block's start. */
  int[] positions(int block) throws IOException {
    return positions(block, block(block));
  }

  /** What the values kept are like. */
  StoredDifference.Facts facts() {
    return facts;
  }

  @Override
  public void read(long first, float[] target, int at, int count) throws IOException {
    int found = Arrays.binarySearch(values, first);
    int block = found >= 0 ? found : -found - 2;
    int done = 0;
    while (done < count) {
      // Blocks without values share their start with the next.
      while (values[block + 1] <= first + done) {
        block++;
      }
      float[] all = block(block);
      int[] positions = positions(block, all);
      for (int i = (int) (first + done - values[block]); i < positions.length && done < count; i++) {
        target[at + done++] = all[positions[i]];
      }
    }
  }
}
