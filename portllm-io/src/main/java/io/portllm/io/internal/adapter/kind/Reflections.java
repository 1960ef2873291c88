package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/** HRA (arXiv 2405.17484): {@code W' = W·Π(I − 2·u·uᵀ)} over the normalised columns u of a matrix, first to last. */
final class Reflections extends WeightChange {
  private final Tensor vectors;
  private final boolean orthogonalised;
  private final Kept kept;

  /**
   * The change by these vectors.
   *
   * @param shape the weight's shape
   * @param vectors columns of the weight × number of vectors
   * @param orthogonalised whether the vectors are made orthogonal (Gram-Schmidt) before they are used
   */
  Reflections(Shape shape, Tensor vectors, boolean orthogonalised, Kept kept) {
    super(shape, vectors);
    this.vectors = vectors;
    this.orthogonalised = orthogonalised;
    this.kept = kept;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    double[] units = kept.doubles(this, "units", this::units);
    double[] row = new double[columns];
    for (int start = 0; start < rows * columns; start += columns) {
      for (int i = 0; i < columns; i++) {
        row[i] = values[start + i];
      }
      for (int unit = 0; unit < units.length; unit += columns) {
        addMultiple(row, 0, -2 * dot(row, 0, units, unit, columns), units, unit, columns);
      }
      for (int i = 0; i < columns; i++) {
        values[start + i] = (float) (row[i] - values[start + i]);
      }
    }
  }

  /** The vectors one after the other, each of length 1. */
  private double[] units() throws IOException {
    int columns = columns();
    float[] stored = Numbers.all(vectors);
    int count = stored.length / columns;
    double[] units = new double[stored.length];
    for (int vector = 0; vector < count; vector++) {
      int start = vector * columns;
      for (int i = 0; i < columns; i++) {
        units[start + i] = stored[i * count + vector];
      }
      for (int earlier = 0; orthogonalised && earlier < start; earlier += columns) {
        addMultiple(units, start, -dot(units, start, units, earlier, columns), units, earlier, columns);
      }
      double norm = Math.sqrt(dot(units, start, units, start, columns));
      for (int i = start; i < start + columns; i++) {
        units[i] /= norm;
      }
    }
    return units;
  }

  private static double dot(double[] x, int xStart, double[] y, int yStart, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += x[xStart + i] * y[yStart + i];
    }
    return sum;
  }

  private static void addMultiple(double[] target, int start, double factor, double[] y, int yStart, int count) {
    for (int i = 0; i < count; i++) {
      target[start + i] += factor * y[yStart + i];
    }
  }
}
