package io.portllm.internal.quant;

/** A {@link GridSearch} for 32 weights and a grid of four dimensions and eight levels. */
final class FourSearch extends GridSearch {
  static final int SIZE = 32;

  private static final int TOP = 7;

  FourSearch(Plan plan) {
    super(plan, SIZE);
  }

  @Override
  void choose(float inverse, float withScale, int[] chosen, boolean[] chosenOnGrid) {
    for (int k = 0; k < SIZE / 4; k++) {
      int at = 4 * k;
      int code = level(inverse, at) | level(inverse, at + 1) << 3 | level(inverse, at + 2) << 6 | level(inverse, at + 3) << 9;
      int entry = entries[code];
      chosenOnGrid[k] = entry >= 0;
      chosen[k] = entry >= 0 ? entry : nearest(at, withScale, -1 - entry);
    }
  }

  private int level(float inverse, int at) {
    return NearestInt.of(0.5f * (inverse * values[at] - 1), 0, TOP);
  }

  /** The nearest entry of a list, the first of equals: distances are not negative, so that their bits have their order. */
  private int nearest(int at, float scale, int list) {
    int end = list + lists[list];
    long nearest = Long.MAX_VALUE;
    for (int i = list + 1; i <= end; i++) {
      int entry = 4 * lists[i];
      float a = scale * odd[entry] - values[at];
      float b = scale * odd[entry + 1] - values[at + 1];
      float c = scale * odd[entry + 2] - values[at + 2];
      float d = scale * odd[entry + 3] - values[at + 3];
      float distance = roots[at] * a * a + roots[at + 1] * b * b + roots[at + 2] * c * c + roots[at + 3] * d * d;
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
    for (int k = 0; k < SIZE / 4; k++) {
      int code = codes[chosen[k]];
      int at = 32 * k;
      sum += terms[at + (code & 7)];
      sum += terms[at + 8 + (code >> 3 & 7)];
      sum += terms[at + 16 + (code >> 6 & 7)];
      sum += terms[at + 24 + (code >> 9)];
    }
    return sum;
  }
}
