package io.portllm.io.internal.adapter.kind;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Changes that need the norms of all columns, on weights of which only a part is held at a time. */
class ColumnNormsTest {
  private static final int ROWS = 3001;
  private static final int COLUMNS = 200;
  private static final int RANK = 3;

  @Test
  void normsAreThoseOfAllRowsAndOfWhatIsAddedToThem() throws IOException {
    Tensor weights = pattern("weights", 1, ROWS, COLUMNS);

    double[] norms = ColumnNorms.of(weights, Shape.of(ROWS, COLUMNS), (from, rows) -> (row, values) -> values[7] += from + row);

    float[] all = Numbers.all(weights);
    double[] expected = new double[COLUMNS];
    for (int i = 0; i < all.length; i++) {
      double value = (double) all[i] + (i % COLUMNS == 7 ? i / COLUMNS : 0);
      expected[i % COLUMNS] += value * value;
    }
    for (int i = 0; i < COLUMNS; i++) {
      expected[i] = Math.sqrt(expected[i]);
    }
    assertArrayEquals(expected, norms);
  }

  @Test
  void rowsBeyondTheShapeDoNotCount() throws IOException {
    double[] norms = ColumnNorms.of(pattern("weights", 1, ROWS, COLUMNS), Shape.of(ROWS - 1, COLUMNS), ColumnNorms.NOTHING_ADDED);

    assertArrayEquals(ColumnNorms.of(pattern("weights", 1, ROWS - 1, COLUMNS), Shape.of(ROWS, COLUMNS), ColumnNorms.NOTHING_ADDED), norms);
  }

  @Test
  void everyColumnOfADoraEmbeddingGetsItsMagnitudeAsItsNorm() throws IOException {
    Tensor weights = pattern("weights", 1, ROWS, COLUMNS);
    Tensor magnitude = pattern("magnitude", 2, COLUMNS, 1);
    Tensor b = pattern("b", 3, COLUMNS, RANK);
    Tensor a = pattern("a", 4, RANK, ROWS);
    Dora dora = new Dora(Shape.of(ROWS, COLUMNS), b, a, 0.5, true, magnitude, new Kept());

    float[] change = new float[ROWS * COLUMNS];
    dora.compute(0, ROWS, weights, change);

    float[] before = Numbers.all(weights);
    double[] squares = new double[COLUMNS];
    for (int i = 0; i < change.length; i++) {
      double after = (double) before[i] + change[i];
      squares[i % COLUMNS] += after * after;
    }
    float[] magnitudes = Numbers.all(magnitude);
    for (int i = 0; i < COLUMNS; i++) {
      assertEquals(Math.abs(magnitudes[i]), Math.sqrt(squares[i]), 1e-6);
    }
  }

  @Test
  void deloraOnTheWeightsGivesWhatItGivesWithTheirNormsStored() throws IOException {
    Tensor weights = pattern("weights", 1, ROWS, COLUMNS);
    double[] norms = ColumnNorms.of(weights, Shape.of(ROWS, COLUMNS), ColumnNorms.NOTHING_ADDED);
    Tensor stored = ComputedTensor.of("norms", new Rows(Shape.of(COLUMNS, 1), (row, column) -> (float) norms[(int) row]));
    Tensor b = pattern("b", 3, ROWS, RANK);
    Tensor a = pattern("a", 4, RANK, COLUMNS);
    Tensor lambda = pattern("lambda", 5, 1, 1);

    float[] evaluated = new float[COLUMNS];
    new Delora(Shape.of(ROWS, COLUMNS), b, a, lambda, Optional.empty(), new Kept()).compute(2500, 2501, weights, evaluated);
    float[] frozen = new float[COLUMNS];
    new Delora(Shape.of(ROWS, COLUMNS), b, a, lambda, Optional.of(stored), new Kept()).compute(2500, 2501, null, frozen);

    assertArrayEquals(frozen, evaluated, 1e-6f);
  }

  /** Values between -1 and 1 that repeat nowhere. */
  private static Tensor pattern(String name, int seed, int rows, int columns) {
    return ComputedTensor.of(name, new Rows(Shape.of(rows, columns), (row, column) -> (float) Math.sin(seed + 0.7 * row + 1.3 * column)));
  }

  private interface Value {
    float at(long row, int column);
  }

  private record Rows(Shape shape, Value value) implements RowChange {
    @Override
    public boolean dependsOnWeights() {
      return false;
    }

    @Override
    public List<Tensor> inputs() {
      return List.of();
    }

    @Override
    public void compute(long fromRow, long toRow, Tensor weights, float[] target) {
      int columns = (int) shape.columns();
      for (int i = 0; i < (toRow - fromRow) * columns; i++) {
        target[i] = value.at(fromRow + i / columns, i % columns);
      }
    }
  }
}
