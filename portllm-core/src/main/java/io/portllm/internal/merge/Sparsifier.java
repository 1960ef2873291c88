package io.portllm.internal.merge;

import java.io.IOException;
import java.util.List;

/** Leaves out part of a change, and scales the rest. */
interface Sparsifier {
  /**
   * Replaces whole rows of a change by what is left of them.
   *
   * @param first the first element, counted from the start of the tensor
   */
  void apply(long first, int rows, int columns, float[] values) throws IOException;

  /** Keeps what lies above a line. */
  static Sparsifier above(Memo<Cut> line, long offset) {
    return (first, rows, columns, values) -> line.get().keepAbove(values, offset + first, rows * columns);
  }

  /** Keeps what lies below the first line and above the second. */
  static Sparsifier between(Memo<List<Cut>> lines) {
    return (first, rows, columns, values) -> {
      lines.get().get(0).dropAbove(values, first, rows * columns);
      lines.get().get(1).keepAbove(values, first, rows * columns);
    };
  }

  /** Keeps each element with the same probability, divided by it. */
  static Sparsifier random(Coins coins, double density) {
    return (first, rows, columns, values) -> {
      for (int i = 0; i < rows * columns; i++) {
        // Not a condition: chance would mispredict it.
        values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) (values[i] / density)) & coins.below(first + i, density));
      }
    };
  }

  /**
   * Keeps each element with a probability that grows linearly with the rank of its magnitude in its row, divided by it.
   *
   * @param least the probability of the smallest of a row
   * @param most that of the greatest
   */
  static Sparsifier randomByRank(Coins coins, double least, double most) {
    return (first, rows, columns, values) -> {
      MagnitudeRanks ranks = new MagnitudeRanks();
      for (int row = 0; row < rows; row++) {
        randomByRank(coins, least, most, first, row * columns, columns, ranks, values);
      }
    };
  }

  private static void randomByRank(
      Coins coins, double least, double most, long first, int from, int count, MagnitudeRanks ranks, float[] values) {
    int[] order = ranks.order(values, from, count);
    // A row of one has no ranks, so its element has the mean probability.
    double start = count == 1 ? (least + most) / 2 : least;
    double step = count == 1 ? 0 : (most - least) / (count - 1);
    for (int rank = 0; rank < count; rank++) {
      int i = from + order[rank];
      double probability = start + rank * step;
      values[i] = coins.number(first + i) < probability ? (float) (values[i] / probability) : 0;
    }
  }
}
