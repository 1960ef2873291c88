package io.portllm.compress;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** The formulas of compression, written down once more with everything in memory and a full sort. */
final class NaiveCompression {
  private NaiveCompression() {}

  /**
   * @param codes rows of packed codes
   * @param scales one for each group
   * @param values what they stand for
   */
  record Quantised(byte[] codes, float[] scales, float[] values) {}

  static Quantised quantise(float[] changes, int rows, int columns, int bits, long group) {
    int rowBytes = (columns * bits + 7) / 8;
    int width = group == 0 || group > columns ? columns : (int) group;
    byte[] codes = new byte[rows * rowBytes];
    float[] values = new float[changes.length];
    List<Float> scales = new ArrayList<>();
    if (group == 0) {
      scales.add(scale(changes, bits));
    }
    for (int row = 0; row < rows; row++) {
      for (int from = 0; from < columns; from += width) {
        int to = Math.min(columns, from + width);
        if (group != 0) {
          scales.add(scale(Arrays.copyOfRange(changes, row * columns + from, row * columns + to), bits));
        }
        float scale = scales.get(scales.size() - 1);
        for (int column = from; column < to; column++) {
          float change = changes[row * columns + column];
          int code = code(change, scale, bits);
          values[row * columns + column] = code * scale;
          int stored = bits < 4 ? (code + (1 << bits) - 1) / 2 : code;
          for (int bit = 0; bit < bits; bit++) {
            int at = column * bits + bit;
            codes[row * rowBytes + at / 8] |= (byte) ((stored >> bit & 1) << at % 8);
          }
        }
      }
    }
    float[] all = new float[scales.size()];
    for (int i = 0; i < all.length; i++) {
      all[i] = scales.get(i);
    }
    return new Quantised(codes, all, values);
  }

  private static int code(float change, float scale, int bits) {
    if (bits == 1) {
      return change > 0 ? 1 : -1;
    } else if (bits < 4) {
      int nearest = scale == 0 ? 1 : -((1 << bits) - 1);
      for (int odd = nearest + 2; scale != 0 && odd < 1 << bits; odd += 2) {
        // Halfway between two codes is the greater one's.
        nearest = change / (2 * scale) >= (odd - 1) / 2 ? odd : nearest;
      }
      return nearest;
    }
    int largest = (1 << (bits - 1)) - 1;
    int code = scale == 0 ? 0 : Math.round((float) Math.rint(change / scale));
    return Math.max(-largest, Math.min(largest, code));
  }

  private static float scale(float[] group, int bits) {
    double sum = 0;
    float largest = 0;
    for (float change : group) {
      sum += Math.abs((double) change);
      largest = Math.max(largest, Math.abs(change));
    }
    if (bits >= 4) {
      return bits == 4 ? largest / 7f : largest / 127f;
    }
    float scale = (float) ((bits == 3 ? 0.36722 : bits == 2 ? 0.62396 : 1) * (sum / group.length));
    for (int i = 0; bits > 1 && i < 4; i++) {
      double products = 0;
      double squares = 0;
      for (float change : group) {
        int code = code(change, scale, bits);
        products += (double) change * code;
        squares += code * code;
      }
      scale = (float) (products / squares);
    }
    return scale;
  }

  /** The positions of the {@code count} changes of largest magnitude, the first of equal ones, none of them zero; rising. */
  static int[] largest(float[] changes, long count) {
    Integer[] order = new Integer[changes.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparing((Integer i) -> -Math.abs(changes[i])).thenComparing(i -> i));
    return Arrays.stream(order).limit(count).filter(i -> changes[i] != 0).mapToInt(i -> i).sorted().toArray();
  }

  static double relativeError(float[] changes, float[] compressed) {
    double squares = 0;
    double lost = 0;
    for (int i = 0; i < changes.length; i++) {
      squares += Math.pow(changes[i], 2);
      lost += Math.pow((double) changes[i] - compressed[i], 2);
    }
    return Math.sqrt(lost / squares);
  }
}
