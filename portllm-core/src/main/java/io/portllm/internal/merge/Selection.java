package io.portllm.internal.merge;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds the elements of greatest magnitude without sorting: the bits of a float without its sign order as its magnitude does, so a
 * histogram of their upper half and one of the lower half of those at the line give the line exactly.
 *
 * <p>Elements of equal magnitude rank by position, the first highest. Goes through the elements twice, and once more if the line falls
 * between elements of equal magnitude. Memory does not depend on their number.
 */
public final class Selection {
  private static final int BLOCK = 1 << 16;
  private static final int MAGNITUDE = Integer.MAX_VALUE;

  /** How many of the greatest are wanted. */
  interface Wanted {
    /**
     * The numbers of elements above each line.
     *
     * @param elements all elements of those runs that are not zero throughout
     * @param nonZero the elements that are not zero
     */
    long[] of(long elements, long nonZero);
  }

  private final List<Elements> runs;
  private final float[] block = new float[BLOCK];

  private Selection(List<Elements> runs) {
    this.runs = runs;
  }

  /** The lines above which the {@code counts} greatest of {@code elements} lie. */
  public static List<Cut> top(Elements elements, long... counts) throws IOException {
    return top(List.of(elements), (all, nonZero) -> counts);
  }

  /**
   * The lines above which the wanted numbers of elements lie.
   *
   * @param runs the elements, numbered through in this order
   */
  static List<Cut> top(List<Elements> runs, Wanted wanted) throws IOException {
    return new Selection(runs).cuts(wanted);
  }

  /** What is done with each block. */
  private interface Visitor {
    void visit(int run, long first, int count);
  }

  private void forEachBlock(Visitor visitor) throws IOException {
    long before = 0;
    for (int run = 0; run < runs.size(); run++) {
      Elements elements = runs.get(run);
      for (long first = 0; first < elements.count(); first += BLOCK) {
        int count = (int) Math.min(BLOCK, elements.count() - first);
        elements.read(first, count, block);
        visitor.visit(run, before + first, count);
      }
      before += elements.count();
    }
  }

  private List<Cut> cuts(Wanted wanted) throws IOException {
    long[] upper = new long[1 << 15];
    long[] zeros = new long[runs.size()];
    forEachBlock((run, first, count) -> zeros[run] += countUpper(block, count, upper));
    long all = 0;
    long elements = 0;
    long nonZero = 0;
    for (int run = 0; run < runs.size(); run++) {
      long size = runs.get(run).count();
      all += size;
      nonZero += size - zeros[run];
      elements += zeros[run] < size ? size : 0;
    }
    List<Cut> cuts = new ArrayList<>();
    for (long count : wanted.of(elements, nonZero)) {
      // A line below the last element that is not zero may as well lie below all zeros.
      cuts.add(count <= 0 ? Cut.NONE : count >= nonZero ? Cut.ALL : cut(upper, all, count));
    }
    return cuts;
  }

  private Cut cut(long[] upper, long all, long count) throws IOException {
    Rank high = Rank.find(upper, count);
    long[] lower = new long[1 << 16];
    forEachBlock((run, first, length) -> countLower(block, length, high.bucket(), lower));
    Rank low = Rank.find(lower, high.within());
    int key = high.bucket() << 16 | low.bucket();
    return new Cut(key, low.within() == lower[low.bucket()] ? all : position(key, low.within()));
  }

  /** The position of the element that is number {@code rank}, from 1, of those of just this magnitude. */
  private long position(int key, long rank) throws IOException {
    long[] left = {rank};
    long[] found = {-1};
    forEachBlock((run, first, count) -> {
      for (int i = 0; i < count && left[0] > 0; i++) {
        if ((Float.floatToRawIntBits(block[i]) & MAGNITUDE) == key && --left[0] == 0) {
          found[0] = first + i;
        }
      }
    });
    return found[0];
  }

  /** Counts magnitudes by their upper 15 bits; returns how many are zero. */
  private static int countUpper(float[] values, int count, long[] histogram) {
    int zeros = 0;
    for (int i = 0; i < count; i++) {
      int magnitude = Float.floatToRawIntBits(values[i]) & MAGNITUDE;
      histogram[magnitude >>> 16]++;
      zeros += magnitude == 0 ? 1 : 0;
    }
    return zeros;
  }

  /** Counts magnitudes with these upper bits by their lower 16. */
  private static void countLower(float[] values, int count, int upper, long[] histogram) {
    for (int i = 0; i < count; i++) {
      int magnitude = Float.floatToRawIntBits(values[i]) & MAGNITUDE;
      if (magnitude >>> 16 == upper) {
        histogram[magnitude & 0xffff]++;
      }
    }
  }

  /** The bucket that holds the element of a rank counted from the top, and its rank among those of the bucket. */
  private record Rank(int bucket, long within) {
    static Rank find(long[] histogram, long rank) {
      long left = rank;
      for (int bucket = histogram.length - 1; bucket > 0; bucket--) {
        if (left <= histogram[bucket]) {
          return new Rank(bucket, left);
        }
        left -= histogram[bucket];
      }
      return new Rank(0, left);
    }
  }
}
