package io.portllm.internal.compress;

import static io.portllm.Delta.Sparse.BLOCK;

import com.google.common.cache.Cache;
import com.google.common.cache.CacheBuilder;
import io.portllm.internal.codes.PositionLayout;
import io.portllm.internal.kernel.StoredDifference;
import io.portllm.internal.merge.Cut;
import io.portllm.internal.merge.Elements;
import io.portllm.internal.merge.Selection;
import java.io.IOException;
import java.util.Arrays;

/**
 * The values of largest magnitude of a list, as a list of their own in the order in which they stand. Of values of equal magnitude
 * the first rank highest.
 *
 * <p>Holds 16 bytes for each block of {@value io.portllm.Delta.Sparse#BLOCK} values; the values are read anew, but for a few
 * blocks read lately.
 */
final class Kept implements Elements {
  private final Elements source;
  private final Cut cut;
  private final Blocks read;
  private final long[] values;
  private final long[] gapBytes;
  private StoredDifference.Facts facts = StoredDifference.Facts.NONE;

  /** Blocks read lately. Positions, codes and scales of one place are read one after the other, and all need the same blocks. */
  static final class Blocks {
    /** 8 MiB. */
    private static final int MOST = 64;

    private final Cache<Key, float[]> cache = CacheBuilder.newBuilder().maximumSize(MOST).build();

    private record Key(Kept kept, int block) {}
  }

  private Kept(Elements source, Cut cut, Blocks read) {
    this.source = source;
    this.cut = cut;
    this.read = read;
    int blocks = Math.toIntExact(PositionLayout.blocks(source.count()));
    this.values = new long[blocks + 1];
    this.gapBytes = new long[blocks + 1];
  }

  /** The {@code k} values of largest magnitude, but none that are zero. Goes through all values three or four times. */
  static Kept of(Elements source, long k, Blocks read) throws IOException {
    Kept kept = new Kept(source, Selection.top(source, k).get(0), read);
    for (int block = 0; block < kept.blocks(); block++) {
      kept.survey(block);
    }
    return kept;
  }

  private void survey(int block) throws IOException {
    float[] all = block(block);
    int[] positions = positions(block, all);
    long bytes = positions.length;
    int next = 0;
    float[] kept = new float[positions.length];
    for (int i = 0; i < positions.length; i++) {
      bytes += (positions[i] - next) / PositionLayout.SKIP;
      next = positions[i] + 1;
      kept[i] = all[positions[i]];
    }
    values[block + 1] = values[block] + positions.length;
    gapBytes[block + 1] = gapBytes[block] + bytes;
    facts = StoredDifference.examine(facts, kept, kept.length);
  }

  private float[] block(int block) throws IOException {
    Blocks.Key key = new Blocks.Key(this, block);
    float[] all = read.cache.getIfPresent(key);
    if (all == null) {
      all = new float[PositionLayout.length(block, source.count())];
      source.read((long) block * BLOCK, all.length, all);
      read.cache.put(key, all);
    }
    return all;
  }

  private int[] positions(int block, float[] all) {
    int[] positions = new int[all.length];
    // Up to the split, values of just the line's magnitude are above it. Zeros never are.
    int split = cut.split((long) block * BLOCK, all.length);
    int found = above(all, 0, split, Math.max(1, cut.key()), positions, 0);
    return Arrays.copyOf(positions, above(all, split, all.length, cut.key() + 1, positions, found));
  }

  /** Adds the positions of magnitudes of at least {@code least}, without branches, which chance would mispredict. */
  private static int above(float[] all, int from, int to, int least, int[] positions, int before) {
    int found = before;
    for (int i = from; i < to; i++) {
      positions[found] = i;
      found += 1 + ((Float.floatToRawIntBits(all[i]) & Integer.MAX_VALUE) - least >> 31);
    }
    return found;
  }

  /** The number of values kept. */
  @Override
  public long count() {
    return values[blocks()];
  }

  /** The number of blocks of all values. */
  int blocks() {
    return values.length - 1;
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
  public void read(long first, int count, float[] target) throws IOException {
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
        target[done++] = all[positions[i]];
      }
    }
  }
}
