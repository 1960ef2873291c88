package io.portllm.internal.portability;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Merger;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.internal.patch.LowRankRows;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sums over whole arrays against plain ones. */
class FastSumsTest {
  private static final Random RANDOM = new Random(5);

  @ParameterizedTest
  @CsvSource({"BF16, 1", "BF16, 1023", "BF16, 5000", "F32, 1", "F32, 1025", "F32, 5000"})
  void roundingIsCountedAsTheMergerDoes(DType type, int count) {
    float[] weights = new float[count];
    float[] changes = new float[count];
    ByteBuffer stored = ByteBuffer.allocate(type.bytes() * count).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer added = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      int bits = RANDOM.nextInt();
      // Zeros of both signs, subnormal numbers, and no infinity.
      float value = i % 9 == 0 ? (i % 2 == 0 ? 0f : -0f) : Float.intBitsToFloat(bits & (i % 7 == 0 ? 0x807fffff : 0xbfffffff));
      weights[i] = type == DType.BF16 ? Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff0000) : value;
      // Half a step, which ties, and parts and multiples of it.
      float step = Math.ulp(weights[i]) * (type == DType.BF16 ? 1 << 15 : 0.5f);
      changes[i] = i % 5 == 0 ? (i % 2 == 0 ? 0f : -0f) : step * (RANDOM.nextInt(9) - 4) / 2;
      if (type == DType.BF16) {
        stored.putShort(2 * i, (short) (Float.floatToRawIntBits(weights[i]) >>> 16));
      } else {
        stored.putFloat(4 * i, weights[i]);
      }
      added.putFloat(4 * i, changes[i]);
    }

    Rounding found = new RoundingCount(count).count(type, weights, changes, count).orElseThrow();

    Rounding expected =
        Merger.scalar().merge(new Merger.Chunk(type, stored, count), List.of(new Merger.Values(0, count, 1, DType.F32, added)));
    assertEquals(expected, found);
    assertTrue(count == 1 || found.vanished() > 0 && found.vanished() < found.touched(), found::toString);
  }

  @ParameterizedTest
  @CsvSource({"BF16, 3.3e38", "F32, 3.4e38"})
  void sumsThatLeaveTheRangeAreNotCounted(DType type, float large) {
    float[] weights = new float[2000];
    float[] changes = new float[2000];
    weights[1999] = Float.intBitsToFloat(Float.floatToRawIntBits(large) & 0xffff0000);
    changes[1999] = 0.4e38f;
    assertTrue(new RoundingCount(2000).count(type, weights, changes, 2000).isEmpty());
    assertFalse(new RoundingCount(2000).count(type, weights, changes, 1999).isEmpty());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 255, 256, 257, 1000})
  void sumsOfRunsAreThoseOfPlainLoops(int count) {
    double[] fresh = values(count);
    double[] old = values(count);
    double[] change = values(count);
    for (int i = 0; i < count; i += 3) {
      old[i] = fresh[i];
      change[(i + 1) % count] *= 1e-300;
    }
    change[count / 2] = 0;
    Sums sums = new Sums();
    RunSums runs = new RunSums(sums);
    runs.addCompared(fresh, old, change, count);
    runs.finish();

    double updates = 0;
    double products = 0;
    double magnitude = 0;
    double against = 0;
    int both = 0;
    int conflicts = 0;
    for (int i = 0; i < count; i++) {
      double update = fresh[i] - old[i];
      updates += update * update;
      products += change[i] * update;
      if (change[i] != 0 && update != 0) {
        boolean conflict = change[i] > 0 != update > 0;
        both++;
        magnitude += Math.abs(change[i]);
        conflicts += conflict ? 1 : 0;
        against += conflict ? Math.abs(change[i]) : 0;
      }
    }
    assertEquals(updates, sums.updateSquares, 1e-12 * updates);
    assertEquals(products, sums.changeUpdate, 1e-12 * count);
    assertEquals(both, sums.movedByBoth);
    assertEquals(conflicts, sums.conflicts);
    assertEquals(magnitude, sums.magnitude, 1e-12 * count);
    assertEquals(against, sums.conflictMagnitude, 1e-12 * count);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aProductIsSketchedLikeItsElements(boolean transposed) throws IOException {
    int rows = 37;
    int columns = 50;
    Delta.LowRank one = product(rows, columns, 5, transposed);
    Delta.LowRank two = product(rows, columns, 2, false);
    Delta delta = new Delta.Sum(List.of(new Delta.Term(-0.5, one), new Delta.Term(1, two)));
    float[] values = new float[rows * columns];
    new RowEvaluator(delta).read(0, rows, values);
    double[][] elements = new double[rows][columns];
    for (int i = 0; i < values.length; i++) {
      elements[i / columns][i % columns] = values[i];
    }
    ProductSketch product = new ProductSketch(LowRankRows.of(delta, rows).orElseThrow(), columns);
    ValueSketch plain = new ValueSketch(columns);
    WeightSketch weights = WeightSketch.ofMatrix(columns, Optional.empty());
    for (int from = 0; from < rows; from += ColumnSums.ROWS) {
      int to = Math.min(rows, from + ColumnSums.ROWS);
      product.add(from, null, from, to);
      plain.add(from, elements, from, to);
      weights.addRows(from, elements, from, to);
      for (int row = 0; row < to - from; row++) {
        assertArrayEquals(plain.last()[row], product.last()[row], 1e-4);
      }
    }
    for (int k = 0; k < plain.reducedRows().length; k++) {
      assertArrayEquals(plain.reducedRows()[k], product.reducedRows()[k], 1e-4);
    }
    assertArrayEquals(weights.finish(1).weights().toArray(), product.weights(), 1e-4);
    assertArrayEquals(plain.signature(), product.signature(), 1e-3);
  }

  @Test
  void aChangeOfOtherRowsIsNoProductOfThese() {
    assertTrue(LowRankRows.of(product(8, 6, 2, false), 9).isEmpty());
    assertTrue(LowRankRows.of(new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(8, 6), new double[48])), 8).isEmpty());
  }

  private static Delta.LowRank product(int rows, int columns, int rank, boolean transposed) {
    int out = transposed ? columns : rows;
    int in = transposed ? rows : columns;
    return new Delta.LowRank(
        MemoryModel.tensor(DType.F32, Shape.of(out, rank), values(out * rank)),
        MemoryModel.tensor(DType.F32, Shape.of(rank, in), values(rank * in)),
        0.75,
        transposed,
        Shape.of(rows, columns));
  }

  private static double[] values(int count) {
    return RANDOM.doubles(count, -1, 1).toArray();
  }
}
