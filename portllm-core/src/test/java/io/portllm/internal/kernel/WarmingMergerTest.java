package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.Test;

class WarmingMergerTest {
  private static final int RUN = 1 << 16;
  private static final int FIRST_RUNS = 5;

  /** As fast as can be, and does nothing. */
  private int byVectors;

  private final WarmingMerger merger =
      new WarmingMerger(
          (chunk, operands) -> {
            byVectors++;
            return Rounding.NONE;
          },
          FIRST_RUNS * (long) RUN);

  private void merge(DType type, int elements, int times, boolean difference) {
    merge(merger, type, elements, times, difference);
  }

  private static void merge(Merger merger, DType type, int elements, int times, boolean difference) {
    ByteBuffer weights = ByteBuffer.allocate(elements * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    Merger.Operand operand =
        difference
            ? new Merger.Difference(0, elements, 1, type, weights, type, weights)
            : new Merger.Values(0, elements, 1, type, weights);
    for (int i = 0; i < times; i++) {
      merger.merge(new Merger.Chunk(type, weights, elements), List.of(operand));
    }
  }

  @Test
  void theFirstWeightsAreMergedWithoutVectorsThenSomeRunsThenAll() {
    merge(DType.BF16, RUN, FIRST_RUNS, true);
    assertEquals(0, byVectors);
    merge(DType.BF16, RUN, 63, true);
    assertEquals(0, byVectors);
    merge(DType.BF16, RUN, 1, true);
    assertEquals(1, byVectors);
    merge(DType.BF16, RUN, 10, true);
    assertEquals(11, byVectors);
  }

  @Test
  void eachTypeAndKindOfChangeBeginsAnew() {
    merge(DType.BF16, RUN, 100, true);
    assertTrue(byVectors > 0);
    byVectors = 0;
    merge(DType.BF16, RUN, 20, false);
    merge(DType.F32, RUN, 20, true);
    assertEquals(0, byVectors);
  }

  @Test
  void shortRunsAreNotTimed() {
    merge(DType.BF16, RUN / 2, 500, true);
    assertEquals(0, byVectors);
  }

  @Test
  void typesWithoutStagedLoopsAreMergedByVectorsAtOnce() {
    merge(DType.F8_E5M2, RUN, 2, true);
    merge(DType.F8_E4M3, RUN, 1, true);
    assertEquals(3, byVectors);
  }

  @Test
  void whereManyWeightsAreToComeAllAreMergedByVectorsAndLaterOnesToo() {
    Merger many = merger.expecting(4 * WarmingMerger.MANY, 4);
    assertSame(merger, merger.expecting(4 * WarmingMerger.MANY - 1, 4));

    merge(many, DType.BF16, RUN, 10, true);
    assertEquals(10, byVectors);
    merge(DType.BF16, RUN, 3, false);
    assertEquals(10, byVectors);
    merge(many, DType.BF16, RUN, 2048, true);
    merge(DType.BF16, RUN, 3, true);
    assertEquals(10 + 2048 + 3, byVectors);
    merge(DType.BF16, RUN, 3, false);
    assertEquals(10 + 2048 + 3, byVectors);
  }
}
