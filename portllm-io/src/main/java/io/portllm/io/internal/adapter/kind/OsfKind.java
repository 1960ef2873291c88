package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.extract.RightVectors;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * OSF (arXiv 2504.07097): of the weight's singular values the lowest are replaced, with their vectors, by those that were trained.
 */
final class OsfKind implements AdapterKind {
  private static final String U = "osf_svd_params.U_low";
  private static final String S = "osf_svd_params.S_low";
  private static final String V = "osf_svd_params.V_low";

  @Override
  public List<String> parts() {
    return List.of(U, S, V);
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    Kept kept = new Kept();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Tensor s = module.vector(S);
      long low = s.info().elements();
      Tensor u = module.matrixOfColumns(U, low);
      Tensor v = module.matrixOfRows(V, low);
      Shape weight = Shape.of(u.info().shape().rows(), v.info().shape().columns());
      if (low > Math.min(weight.rows(), weight.columns())) {
        throw module.shape(S + " has " + low + " singular values, but weights of " + weight + " have fewer");
      }
      deltas.put(module.weight(), new Delta.Computed(new LowestReplaced(weight, u, s, v, kept), Optional.empty()));
    }
    return deltas;
  }

  /**
   * {@code U·diag(S)·V − (W − W·P)}, where P projects on the directions of the greatest singular values of W. These take a decomposition of
   * the whole weight, done once for each weight and held with it in memory in float64; its time grows with the third power of the weight's
   * size.
   */
  private static final class LowestReplaced extends WeightChange {
    private final Tensor u;
    private final Tensor s;
    private final Tensor v;
    private final Kept kept;

    LowestReplaced(Shape shape, Tensor u, Tensor s, Tensor v, Kept kept) {
      super(shape, u, s, v);
      this.u = u;
      this.s = s;
      this.v = v;
      this.kept = kept;
    }

    @Override
    void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
      int columns = columns();
      int low = Math.toIntExact(s.info().elements());
      int high = Math.toIntExact(Math.min(shape().rows(), columns)) - low;
      double[] directions = kept.doubles(this, weights, () -> RightVectors.greatest(Numbers.all(weights), columns, high));
      float[] scales = Numbers.all(s);
      float[] right = kept.floats(this, "V", () -> Numbers.all(v));
      float[] left = new float[rows * low];
      Numbers.read(u, fromRow * low, left.length, left);
      double[] row = new double[columns];
      for (int r = 0; r < rows; r++) {
        for (int i = 0; i < columns; i++) {
          row[i] = -values[r * columns + i];
        }
        for (int k = 0; k < high; k++) {
          double share = 0;
          for (int i = 0; i < columns; i++) {
            share += directions[k * columns + i] * values[r * columns + i];
          }
          for (int i = 0; i < columns; i++) {
            row[i] += share * directions[k * columns + i];
          }
        }
        for (int k = 0; k < low; k++) {
          double factor = (double) left[r * low + k] * scales[k];
          for (int i = 0; i < columns; i++) {
            row[i] += factor * right[k * columns + i];
          }
        }
        for (int i = 0; i < columns; i++) {
          values[r * columns + i] = (float) row[i];
        }
      }
    }
  }
}
