package io.portllm.internal.merge;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/**
 * SCE (arXiv 2408.07990): selects the elements that differ most between the changes, calculates a weight for each change from the energy
 * of what was selected, and erases the changes against the sign of their plain sum.
 */
final class SceSum extends CombinedChange {
  private static final int BLOCK = 1 << 14;

  /** What is known of a tensor before its first element is computed. */
  private record Facts(Cut cut, double[] weights) {}

  private final List<Elements> changes;
  private final double density;
  private final Memo<Facts> facts = new Memo<>(this::facts);

  SceSum(Inputs inputs, double density) {
    super(inputs, false);
    this.changes = inputs.all();
    this.density = density;
  }

  @Override
  void combine(long first, int rows, int columns, float[][] values, float[] target, int at) throws IOException {
    int count = rows * columns;
    select(facts.get().cut(), first, values, count);
    double[] votes = new double[values.length];
    Arrays.fill(votes, 1);
    double[] weights = facts.get().weights();
    Sums.agreeing(values, votes, weights, weights, count, target, at);
  }

  private Facts facts() throws IOException {
    Cut cut = Cut.ALL;
    if (density < 1) {
      cut = Selection.top(List.of(deviations()), (all, nonZero) -> new long[] {(long) (density * nonZero)}).get(0);
    }
    float[][] values = new float[changes.size()][BLOCK];
    Gram energies = Gram.none(changes.size());
    for (long first = 0; first < changes.get(0).count(); first += BLOCK) {
      int count = (int) Math.min(BLOCK, changes.get(0).count() - first);
      read(first, count, values);
      select(cut, first, values, count);
      energies.add(values, 0, count);
    }
    double[] weights = new double[changes.size()];
    Arrays.setAll(weights, i -> energies.product(i, i));
    double sum = Arrays.stream(weights).sum();
    Arrays.setAll(weights, i -> sum == 0 ? 1.0 / weights.length : weights[i] / sum);
    return new Facts(cut, weights);
  }

  /** The standard deviation of each element, which orders as its variance does but does not underflow. */
  private Elements deviations() {
    float[][] values = new float[changes.size()][BLOCK];
    return new Elements() {
      @Override
      public long count() {
        return changes.get(0).count();
      }

      @Override
      public void read(long first, int count, float[] target) throws IOException {
        for (int start = 0; start < count; start += BLOCK) {
          int length = Math.min(BLOCK, count - start);
          SceSum.this.read(first + start, length, values);
          for (int e = 0; e < length; e++) {
            target[start + e] = deviation(values, e);
          }
        }
      }
    };
  }

  private static float deviation(float[][] values, int element) {
    double mean = 0;
    for (float[] change : values) {
      mean += change[element];
    }
    mean /= values.length;
    double sum = 0;
    for (float[] change : values) {
      sum += (change[element] - mean) * (change[element] - mean);
    }
    return (float) Math.sqrt(sum / values.length);
  }

  private static void select(Cut cut, long first, float[][] values, int count) {
    if (cut == Cut.ALL) {
      return;
    }
    for (int e = 0; e < count; e++) {
      if (!cut.isAbove(deviation(values, e), first + e)) {
        for (float[] change : values) {
          change[e] = 0;
        }
      }
    }
  }

  private void read(long first, int count, float[][] values) throws IOException {
    for (int i = 0; i < values.length; i++) {
      changes.get(i).read(first, count, values[i]);
    }
  }
}
