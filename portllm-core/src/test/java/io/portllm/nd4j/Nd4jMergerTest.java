package io.portllm.nd4j;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
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
import io.portllm.internal.kernel.Floats;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class Nd4jMergerTest {
  private final Merger merger = Nd4jMerger.create();
  private final Random random = new Random(42);

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void valuesOfAnyTypeAndBitsGiveTheScalarBits(DType dtype) {
    for (int elements : new int[] {1, 2, 7, 1023, 1024, 1025, 5000}) {
      for (DType other : DType.values()) {
        if (other.isArithmetic()) {
          Operand first = new Values(0, elements, 1, other, bits(other, elements));
          int part = elements / 2;
          Operand second = new Values(elements - part, part, -0.3, other, weights(other, part));
          assertSameAsScalar(bits(dtype, elements), dtype, elements, List.of(first, second));
          assertSameAsScalar(weights(dtype, elements), dtype, elements, List.of(second, first));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void differencesOfAnyTypesGiveTheScalarBits(DType dtype) {
    int elements = 1100;
    for (DType tuned : DType.values()) {
      for (DType base : DType.values()) {
        if (tuned.isArithmetic() && base.isArithmetic()) {
          Operand small = new Difference(17, 700, 0.7, tuned, weights(tuned, 700), base, weights(base, 700));
          Operand any = new Difference(0, elements, 1, tuned, bits(tuned, elements), base, weights(base, elements));
          assertSameAsScalar(weights(dtype, elements), dtype, elements, List.of(small));
          assertSameAsScalar(weights(dtype, elements), dtype, elements, List.of(small, any));
        }
      }
    }
  }

  @Test
  void nothingToAddChangesNothing() {
    assertSameAsScalar(bits(DType.BF16, 100), DType.BF16, 100, List.of());
    assertSameAsScalar(bits(DType.BF16, 0), DType.BF16, 0, List.of());
    assertSameAsScalar(
        bits(DType.BF16, 100), DType.BF16, 100, List.of(new Values(50, 0, 1, DType.F32, weights(DType.F32, 0))));
    assertSameAsScalar(
        bits(DType.BF16, 100), DType.BF16, 100, List.of(new LowRank(0, 100, 1, 0, 100, 0, new float[0], new float[0])));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void productsAreWithinOneUnitInTheLastPlaceOrTheBoundOfTheirTerms(DType dtype) {
    int elements = 2500;
    int checked = 0;
    int moreThanOneUnit = 0;
    for (int rank : new int[] {1, 8, 64}) {
      for (int columns : new int[] {1, 96, 1000}) {
        for (int column : new int[] {0, columns - 1}) {
          int rows = (column + elements - 1) / columns + 1;
          LowRank product =
              new LowRank(0, elements, 2, column, columns, rank, gaussian(rows * rank, 0.02), gaussian(rank * columns, 0.02));
          ByteBuffer expected = weights(dtype, elements);
          ByteBuffer actual = copy(expected);
          Merger.scalar().merge(new Chunk(dtype, expected, elements), List.of(product));
          merger.merge(new Chunk(dtype, actual, elements), List.of(product));
          checked += elements;
          for (int i = 0; i < elements; i++) {
            if (Math.abs(order(dtype, expected, i) - order(dtype, actual, i)) > 1) {
              moreThanOneUnit++;
              assertEquals(value(dtype, expected, i), value(dtype, actual, i), bound(dtype, product, i), dtype + " " + product);
            }
          }
        }
      }
    }
    assertTrue(moreThanOneUnit <= checked / (dtype.bits() < 32 ? 1000 : 20), moreThanOneUnit + " of " + checked);
  }

  @Test
  void productsThatAreExactInAnyOrderGiveTheScalarBitsAtEveryPosition() {
    for (int columns = 1; columns < 8; columns++) {
      for (int column = 0; column < columns; column++) {
        for (int elements = 1; elements < 20; elements++) {
          int rows = (column + elements - 1) / columns + 1;
          float[] left = integers(rows * 3);
          float[] right = integers(3 * columns);
          Operand product = new LowRank(2, elements, 0.5, column, columns, 3, left, right);
          assertSameAsScalar(weights(DType.F32, elements + 5), DType.F32, elements + 5, List.of(product));
        }
      }
    }
  }

  @Test
  void threadsDoNotDisturbEachOther() throws Exception {
    int elements = 20_000;
    ByteBuffer base = weights(DType.BF16, elements);
    Operand values = new Values(0, elements, 0.3, DType.F32, weights(DType.F32, elements));
    ByteBuffer expected = copy(base);
    Rounding rounding = Merger.scalar().merge(new Chunk(DType.BF16, expected, elements), List.of(values));
    Callable<ByteBuffer> merge = () -> {
      ByteBuffer merged = copy(base);
      assertEquals(rounding, merger.merge(new Chunk(DType.BF16, merged, elements), List.of(values)));
      return merged;
    };
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try {
      for (Future<ByteBuffer> merged : pool.invokeAll(IntStream.range(0, 40).mapToObj(i -> merge).toList())) {
        assertEquals(expected, merged.get());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  private void assertSameAsScalar(ByteBuffer base, DType dtype, int elements, List<Operand> operands) {
    ByteBuffer expected = copy(base);
    ByteBuffer actual = copy(base);
    Rounding rounding = Merger.scalar().merge(new Chunk(dtype, expected, elements), operands);
    assertEquals(rounding, merger.merge(new Chunk(dtype, actual, elements), operands));
    assertArrayEquals(expected.array(), actual.array(), () -> dtype + " and " + operands);
  }

  /** How far a product in another order may be from the scalar one. */
  private static double bound(DType dtype, LowRank product, int element) {
    int row = (product.column() + element) / product.columns();
    int column = (product.column() + element) % product.columns();
    double terms = 0;
    for (int k = 0; k < product.rank(); k++) {
      terms += Math.abs(product.left()[row * product.rank() + k] * product.right()[k * product.columns() + column]);
    }
    return product.rank() * (dtype == DType.F64 ? 0x1p-52 : 0x1p-23) * terms * Math.abs(product.factor());
  }

  private static double value(DType dtype, ByteBuffer buffer, int index) {
    double[] value = new double[1];
    Floats.read(dtype, buffer, index, value, 1, new int[1], new float[1]);
    return value[0];
  }

  /** The place of an element among all values of its type, so that neighbours differ by 1. */
  private static long order(DType dtype, ByteBuffer buffer, int index) {
    long raw = switch (dtype.bits()) {
      case 8 -> (long) buffer.get(index) << 56;
      case 16 -> (long) buffer.getShort(2 * index) << 48;
      case 32 -> (long) buffer.getInt(4 * index) << 32;
      default -> buffer.getLong(8 * index);
    };
    long magnitude = (raw & Long.MAX_VALUE) >>> (64 - dtype.bits());
    return raw < 0 ? -magnitude : magnitude;
  }

  private float[] gaussian(int count, double scale) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (random.nextGaussian() * scale);
    }
    return values;
  }

  private float[] integers(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextInt(17) - 8;
    }
    return values;
  }

  /** Elements of any bits: infinite, NaN and subnormal ones, zeros of both signs. */
  private ByteBuffer bits(DType dtype, int elements) {
    byte[] bytes = new byte[elements * dtype.bytes()];
    random.nextBytes(bytes);
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Elements such as models have: between 2⁻⁸ and 2 in magnitude. */
  private ByteBuffer weights(DType dtype, int elements) {
    ByteBuffer buffer = ByteBuffer.allocate(elements * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < elements; i++) {
      double value = (random.nextBoolean() ? 1 : -1) * Math.scalb(1 + random.nextDouble(), -random.nextInt(9));
      int bits = Float.floatToRawIntBits((float) value);
      switch (dtype) {
        case F64 -> buffer.putDouble(value);
        case F32 -> buffer.putFloat((float) value);
        case BF16 -> buffer.putShort((short) (bits >>> 16));
        case F16 -> buffer.putShort((short) (bits >>> 31 << 15 | (bits & 0x7fff_ffff) - (112 << 23) >>> 13));
        case F8_E5M2 -> buffer.put((byte) (bits >>> 31 << 7 | (bits & 0x7fff_ffff) - (112 << 23) >>> 21));
        default -> buffer.put((byte) (bits >>> 31 << 7 | Math.max(1, (bits & 0x7fff_ffff) - (120 << 23) >> 20)));
      }
    }
    return buffer.rewind();
  }

  private static ByteBuffer copy(ByteBuffer buffer) {
    return ByteBuffer.wrap(buffer.array().clone()).order(ByteOrder.LITTLE_ENDIAN);
  }
}
