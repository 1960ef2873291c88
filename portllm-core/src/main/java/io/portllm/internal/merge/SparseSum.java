package io.portllm.internal.merge;

import com.google.common.collect.ImmutableList;
import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.merge.Combination;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** A weighted sum of changes of which parts were left out first. */
final class SparseSum extends CombinedChange {
  private final ImmutableList<Sparsifier> sparsifiers;
  private final ImmutableDoubleArray factors;
  private final Combination combination;

  SparseSum(Inputs inputs, boolean byRow, List<Sparsifier> sparsifiers, ImmutableDoubleArray factors, Combination combination) {
    super(inputs, byRow);
    this.sparsifiers = ImmutableList.copyOf(sparsifiers);
    this.factors = factors;
    this.combination = combination;
  }

  @Override
  void combine(long first, int rows, int columns, float[][] values, float[] target, int at) throws IOException {
    for (int patch = 0; patch < values.length; patch++) {
      sparsifiers.get(patch).apply(first, rows, columns, values[patch]);
    }
    double[] weights = factors.toArray();
    int count = rows * columns;
    double[] equal = new double[weights.length];
    Arrays.fill(equal, 1);
    switch (combination) {
      case SUM -> Sums.all(values, weights, count, target, at);
      case ELECTED_SUM -> Sums.agreeing(values, weights, weights, new double[weights.length], count, target, at);
      case ELECTED_MEAN -> Sums.agreeing(values, weights, weights, Arrays.stream(weights).map(Math::abs).toArray(), count, target, at);
      case COUNTED_MEAN -> Sums.agreeing(values, equal, weights, equal, count, target, at);
    }
  }
}
