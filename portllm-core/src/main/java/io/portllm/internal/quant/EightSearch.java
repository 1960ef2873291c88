package io.portllm.internal.quant;

/** A {@link GridSearch} for sixteen weights and a grid of eight dimensions and three levels. */
final class EightSearch extends GridSearch {
  static final int SIZE = 16;

  private static final int TOP = 2;

  EightSearch(Plan plan) {
    super(plan, SIZE);
  }

  @Override
  void choose(float inverse, float withScale, int[] chosen, boolean[] chosenOnGrid) {
    for (int k = 0; k < SIZE / 8; k++) {
      int code = 0;
      for (int i = 0; i < 8; i++) {
        code |= NearestInt.of(0.5f * (inverse * values[8 * k + i] - 1), 0, TOP) << 2 * i;
      }
      int entry = entries[code];
      chosenOnGrid[k] = entry >= 0;
      chosen[k] = entry >= 0 ? entry : nearest(8 * k, withScale, -1 - entry);
    }
  }

  /** The nearest entry of a list, the first of equals: distances are not negative, so that their bits have their order. */
  private int nearest(int at, float scale, int list) {
    int end = list + lists[list];
    long nearest = Long.MAX_VALUE;
    for (int i = list + 1; i <= end; i++) {
      float distance = 0;
      for (int j = 0; j < 8; j++) {
        float difference = scale * odd[8 * lists[i] + j] - values[at + j];
        distance += roots[at + j] * difference * difference;
      }
      nearest = Math.min(nearest, (long) Float.floatToRawIntBits(distance) << 32 | i);
    }
    return lists[(int) nearest];
  }

  @Override
  float product(int[] chosen) {
    return sum(chosen, products);
  }

  @Override
  float square(int[] chosen) {
    return sum(chosen, squares);
  }

  private float sum(int[] chosen, float[] terms) {
    float sum = 0;
    for (int k = 0; k < SIZE / 8; k++) {
      int code = codes[chosen[k]];
      for (int i = 0; i < 8; i++) {
        sum += terms[64 * k + 8 * i + (code >> 2 * i & 3)];
      }
    }
    return sum;
  }
}
