package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import io.portllm.cuda.Cuda;
import io.portllm.testing.Codes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The kernels on a GPU against plain Java. Skipped where there is none. */
class CudaMergerIT extends MergerContract {
  private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2};
  private static final int LARGE = (1 << 21) + 777;

  private final Random random = new Random(8);

  @BeforeAll
  static void needsGpu() {
    Cuda.problem().ifPresent(problem -> Assumptions.abort("no GPU: " + problem));
  }

  @Override
  Merger merger() {
    return Merger.cuda();
  }

  @Test
  void theGpuIsUsed() {
    assertTrue(Merger.cuda().toString().startsWith("CUDA on "), Merger.cuda().toString());
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void everyPatternOfSixteenBitsGivesTheScalarBits(DType type) {
    int count = 1 << 16;
    ByteBuffer patterns = ByteBuffer.allocate(2 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      patterns.putShort(2 * i, (short) i);
    }
    for (DType stored : new DType[] {DType.F16, DType.BF16}) {
      for (double factor : new double[] {1, -0.3, 0x1p-20, 0x1p100}) {
        assertScalarBits(new Chunk(type, anyBits(type, count), count), List.of(new Values(0, count, factor, stored, patterns)));
        if (type.bits() == 16) {
          Chunk chunk = new Chunk(type, copy(patterns), count);
          assertScalarBits(chunk, List.of(new Values(0, count, factor, stored, anyBits(stored, count))));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void longRunsOfEveryKindGiveTheScalarBits(DType type) {
    for (DType stored : TYPES) {
      assertScalarBits(weights(type), List.of(new Values(0, LARGE, 0.7, stored, changes(stored))));
      assertScalarBits(new Chunk(type, anyBits(type, LARGE), LARGE), List.of(new Values(0, LARGE, 1, stored, anyBits(stored, LARGE))));
      assertScalarBits(
          weights(type), List.of(new Difference(0, LARGE, 1.5, stored, changes(stored), type, changes(type))));
    }
    assertScalarBits(
        new Chunk(type, anyBits(type, LARGE), LARGE),
        List.of(new Difference(0, LARGE, 1, type, anyBits(type, LARGE), type, anyBits(type, LARGE))));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void longProductsGiveTheScalarBits(DType type) {
    for (int rank : new int[] {1, 8, 16, 19, 32, 64}) {
      for (int columns : new int[] {255, 256, 1004, 4096}) {
        for (boolean isShort : new boolean[] {false, true}) {
          int column = rank == 8 ? 0 : 4 * random.nextInt(columns / 4);
          assertScalarBits(weights(type), List.of(product(rank, columns, column, isShort)));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void productsOfWholeRowsGiveTheScalarBits(DType type) {
    for (int rank : new int[] {1, 5, 8, 13, 16, 27, 32}) {
      for (int columns : new int[] {4, 128, 512, 1004, 4096, 33000}) {
        for (int rows : new int[] {4, 12, 60}) {
          for (boolean isShort : new boolean[] {false, true}) {
            int count = rows * columns;
            ByteBuffer some = changes(type).slice(0, count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
            ByteBuffer any = anyBits(type, count);
            LowRank whole = product(rank, columns, 0, isShort);
            List<Operand> operands = List.of(new LowRank(0, count, 0.8, 0, columns, rank, whole.left(), whole.right()));
            assertScalarBits(new Chunk(type, copy(some), count), operands);
            assertScalarBits(new Chunk(type, any, count), operands);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "BF16", "F8_E5M2"})
  void productsOfManyRowsOfFewRanksGiveTheScalarBits(DType type) {
    int columns = 131072;
    int rows = 300;
    byte[] weights = new byte[rows * columns * type.bytes()];
    ByteBuffer some = changes(type);
    for (int at = 0; at < weights.length; at += some.capacity()) {
      some.get(0, weights, at, Math.min(some.capacity(), weights.length - at));
    }
    for (int rank : new int[] {4, 8, 16, 32}) {
      LowRank whole = product(rank, columns, 0, rank == 8);
      float[] left = new float[rows * rank];
      for (int i = 0; i < left.length; i++) {
        left[i] = whole.left()[i % whole.left().length] + i * 0x1p-20f;
      }
      ByteBuffer copy = ByteBuffer.wrap(weights.clone()).order(ByteOrder.LITTLE_ENDIAN);
      assertScalarBits(
          new Chunk(type, copy, rows * columns), List.of(new LowRank(0, rows * columns, 0.8, 0, columns, rank, left, whole.right())));
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void severalChangesOfTheSameElementsGiveTheScalarBits(DType type) {
    for (int count = 1; count <= 4; count++) {
      List<Operand> values = new ArrayList<>();
      List<Operand> differences = new ArrayList<>();
      List<Operand> anyValues = new ArrayList<>();
      List<Operand> mixed = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        double factor = 0.7 - 0.45 * i;
        DType stored = TYPES[(i + 2) % TYPES.length];
        values.add(new Values(16, LARGE - 16, factor, type, changes(type)));
        differences.add(new Difference(0, LARGE, factor, type, changes(type), type, changes(type)));
        anyValues.add(new Values(0, LARGE, factor, type, anyBits(type, LARGE)));
        mixed.add(new Values(0, LARGE, factor, stored, changes(stored)));
        mixed.add(new Difference(0, LARGE, factor, stored, changes(stored), type, changes(type)));
        mixed.add(product(3 + 5 * i, 1000 + i, 4 * i, false));
      }
      mixed.add(new Values(0, LARGE, 0.1, DType.F64, doubles()));
      assertScalarBits(weights(type), values);
      assertScalarBits(weights(type), differences);
      assertScalarBits(weights(type), mixed);
      assertScalarBits(new Chunk(type, anyBits(type, LARGE), LARGE), anyValues);
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void sumsAndSingleRowsAndFewElementsGiveTheScalarBits(DType type) {
    List<Operand> sum = new ArrayList<>();
    sum.add(product(16, 4096, 0, false));
    sum.add(new Values(0, LARGE, -0.5, DType.BF16, changes(DType.BF16)));
    sum.add(product(4, 1000, 3, true));
    assertScalarBits(weights(type), sum);

    List<Operand> rows = new ArrayList<>();
    for (int row = 0; row < 1000; row += 1 + random.nextInt(5)) {
      rows.add(new Values(row * 2001, 2001, 1, DType.F16, changes(DType.F16)));
    }
    assertScalarBits(weights(type), rows);

    ByteBuffer sparse = ByteBuffer.allocate(4 * LARGE).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < LARGE; i += 1 + random.nextInt(50)) {
      sparse.putFloat(4 * i, (float) random.nextGaussian());
    }
    assertScalarBits(weights(type), List.of(new Values(0, LARGE, 0.1, DType.F32, sparse)));
  }

  private void assertScalarBits(Chunk chunk, List<Operand> operands) {
    ByteBuffer expected = copy(chunk.bytes());

    Rounding scalar = Merger.scalar().merge(new Chunk(chunk.dtype(), expected, chunk.elements()), operands);
    Rounding found = merger().merge(chunk, operands);

    assertEquals(scalar, found, () -> chunk.dtype() + " with " + operands);
    for (int at = expected.mismatch(chunk.bytes()); at >= 0; ) {
      int i = at / chunk.dtype().bytes();
      boolean bothNan = Double.isNaN(Codes.get(chunk.dtype(), expected, i)) && Double.isNaN(Codes.get(chunk.dtype(), chunk.bytes(), i));
      assertTrue(bothNan, () -> "element " + i + " of " + chunk.dtype() + " with " + operands);
      int next = (i + 1) * chunk.dtype().bytes();
      int more = expected.slice(next, expected.capacity() - next).mismatch(chunk.bytes().slice(next, expected.capacity() - next));
      at = more < 0 ? -1 : next + more;
    }
  }

  private ByteBuffer doubles() {
    ByteBuffer bytes = ByteBuffer.allocate(8 * LARGE).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < LARGE; i++) {
      bytes.putDouble(8 * i, random.nextDouble() - 0.5);
    }
    return bytes;
  }

  private Chunk weights(DType type) {
    return new Chunk(type, changes(type), LARGE);
  }

  /** Normally distributed values. */
  private ByteBuffer changes(DType type) {
    ByteBuffer bytes = ByteBuffer.allocate(LARGE * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    byte[] some = new byte[997 * type.bytes()];
    ByteBuffer part = ByteBuffer.wrap(some).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 997; i++) {
      Codes.put(type, part, i, random.nextGaussian());
    }
    while (bytes.hasRemaining()) {
      bytes.put(some, 0, Math.min(some.length, bytes.remaining()));
    }
    return bytes.clear();
  }

  private LowRank product(int rank, int columns, int column, boolean isShort) {
    float[] left = new float[(LARGE / columns + 2) * rank];
    float[] right = new float[rank * columns];
    for (float[] factor : new float[][] {left, right}) {
      for (int i = 0; i < factor.length; i++) {
        float value = (float) random.nextGaussian() * 0.1f;
        factor[i] = isShort ? Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff_0000) : value;
      }
    }
    return new LowRank(0, LARGE, 0.8, column, columns, rank, left, right);
  }

  private ByteBuffer anyBits(DType type, int count) {
    byte[] bytes = new byte[count * type.bytes()];
    random.nextBytes(bytes);
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static ByteBuffer copy(ByteBuffer bytes) {
    return ByteBuffer.allocate(bytes.capacity()).order(ByteOrder.LITTLE_ENDIAN).put(0, bytes, 0, bytes.capacity());
  }
}
