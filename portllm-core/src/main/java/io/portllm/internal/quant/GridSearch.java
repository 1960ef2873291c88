package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * Finds a scale for the magnitudes of a group of weights, so that vectors of a grid come near to {@code x / scale}: the search of ggml's
 * {@code quantize_row_iq3_s_impl}, {@code quantize_row_iq3_xxs_impl} and {@code quantize_row_iq2_s_impl}. Level l of a grid stands for
 * 2·l + 1. Several scales about the one that takes the largest magnitude to the highest level are tried; for each, entries are chosen and
 * the gain of their least-squares scale is found. The first of the largest gains wins; then entries are chosen once more for the scale
 * found. An instance is for one thread.
 *
 * <p>Where squares of weights are beyond float32's range, no neighbour is nearest: the reference stops the process there, and here the
 * first one is taken.
 */
abstract class GridSearch {
  /**
   * What a search does.
   *
   * @param steps how many smaller scales, and as many larger ones, are tried
   * @param step in units of a half level
   * @param choosesAllAgain whether entries are chosen anew also for vectors that needed no neighbour, unless every vector was so
   */
  record Plan(GridNeighbours neighbours, int steps, float step, boolean choosesAllAgain) {}

  /** By an entry's number, its levels. */
  final int[] codes;
  /** By an entry's number and the number of a value, what its level stands for. */
  final float[] odd;
  /** The index of each vector's entry or list: {@link GridNeighbours.Table}. */
  final int[] entries;

  final char[] lists;
  final float[] values;
  final float[] weights;
  final float[] roots;
  /** By a value's index and a level, from multiples of eight on: importance · value · level. */
  final float[] products;
  /** As {@link #products}, importance · level². */
  final float[] squares;

  private final Plan plan;
  private final int levels;
  private final int[] tried;
  private final boolean[] triedOnGrid;
  private final int[] best;
  private final boolean[] onGrid;
  private float scale;

  GridSearch(Plan plan, int size) {
    this.plan = plan;
    Grid grid = plan.neighbours().grid();
    GridNeighbours.Table table = plan.neighbours().table();
    levels = plan.neighbours().levels();
    entries = table.entries();
    lists = table.lists();
    codes = new int[grid.size()];
    int dimensions = grid.dimensions();
    odd = new float[grid.size() * dimensions];
    int bits = dimensions == 8 ? 2 : 3;
    for (int i = 0; i < odd.length; i++) {
      codes[i / dimensions] = grid.code(i / dimensions);
      odd[i] = 2 * (codes[i / dimensions] >> i % dimensions * bits & (1 << bits) - 1) + 1;
    }
    values = new float[size];
    weights = new float[size];
    roots = new float[size];
    products = new float[8 * size];
    squares = new float[8 * size];
    tried = new int[size / dimensions];
    triedOnGrid = new boolean[size / dimensions];
    best = new int[size / dimensions];
    onGrid = new boolean[size / dimensions];
  }

  /** Chooses the entries for a scale, and says which vectors' own entries they are. */
  abstract void choose(float inverse, float withScale, int[] chosen, boolean[] chosenOnGrid);

  /** The sum of products for the entries chosen. */
  abstract float product(int[] chosen);

  /** The sum of squares for the entries chosen. */
  abstract float square(int[] chosen);

  /** The magnitudes, for the caller to fill. A few may be negative. */
  final float[] values() {
    return values;
  }

  /** The weights' importances, for the caller to fill. */
  final float[] weights() {
    return weights;
  }

  /** The scale found: negative only if magnitudes were, and NaN only where the reference stops. */
  final float scale() {
    return scale;
  }

  /** The entries found. Not to be changed. */
  final int[] chosen() {
    return best;
  }

  /** Searches for magnitudes of which {@code most} is the largest, and positive. */
  final void search(float most) {
    prepare();
    int top = 2 * levels - 1;
    scale = most / top;
    float gain = 0;
    Arrays.fill(best, 0);
    Arrays.fill(onGrid, !plan.choosesAllAgain());
    for (int i = -plan.steps(); i <= plan.steps(); i++) {
      float inverse = (top + i * plan.step()) / most;
      choose(inverse, 1 / inverse, tried, triedOnGrid);
      float product = product(tried);
      float square = square(tried);
      if (square > 0 && product * product > gain * square) {
        scale = product / square;
        gain = scale * product;
        System.arraycopy(tried, 0, best, 0, best.length);
        System.arraycopy(triedOnGrid, 0, onGrid, 0, best.length);
      }
    }
    chooseAgain();
  }

  private void prepare() {
    for (int j = 0; j < values.length; j++) {
      float w = weights[j];
      float wx = w * values[j];
      roots[j] = (float) Math.sqrt(w);
      for (int l = 0; l < levels; l++) {
        float q = 2 * l + 1;
        products[8 * j + l] = wx * q;
        squares[8 * j + l] = w * q * q;
      }
    }
  }

  private void chooseAgain() {
    boolean all = true;
    for (boolean on : onGrid) {
      all &= on;
    }
    if (all || !(scale > 0)) {
      return;
    }
    choose(1 / scale, scale, tried, triedOnGrid);
    for (int k = 0; k < best.length; k++) {
      if (plan.choosesAllAgain() || !onGrid[k]) {
        best[k] = tried[k];
      }
    }
    float square = square(best);
    if (square > 0) {
      scale = product(best) / square;
    }
  }
}
