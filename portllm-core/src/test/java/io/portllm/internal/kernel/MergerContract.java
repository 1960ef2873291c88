package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import io.portllm.testing.Codes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What every merger must give: the bits of {@link NaiveMerger}. */
abstract class MergerContract {
  private static final List<DType> TYPES =
      List.of(DType.F64, DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2);
  private static final int[] LENGTHS = IntStream.concat(IntStream.rangeClosed(1, 17), IntStream.of(1023, 1024, 1025, 4099)).toArray();

  private final Random random = new Random(2410);

  /** The merger to check. */
  abstract Merger merger();

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void storedValuesOfAnyTypeAreAdded(DType type) {
    for (int length : LENGTHS) {
      for (DType stored : TYPES) {
        for (int start : new int[] {0, length / 3, length - 1}) {
          int count = (length - start + 1) / 2 + (length - start) / 3;
          assertAsDefined(weights(type, length), List.of(new Values(start, count, 1, stored, weights(stored, count).bytes())));
          assertAsDefined(anyBits(type, length), List.of(new Values(start, count, 1, stored, anyBits(stored, count).bytes())));
        }
        assertAsDefined(weights(type, length), List.of(new Values(0, length, -0.3, stored, weights(stored, length).bytes())));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void differencesOfAnyTwoTypesAreAdded(DType type) {
    for (int length : LENGTHS) {
      for (DType tuned : TYPES) {
        for (DType base : TYPES) {
          int start = random.nextInt(length);
          int count = 1 + random.nextInt(length - start);
          assertAsDefined(weights(type, length), List.of(difference(start, count, 0.7, tuned, base)));
        }
        assertAsDefined(weights(type, length), List.of(difference(0, length, 1, tuned, tuned)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void productsAreAddedWhereverTheirRunStartsAndEnds(DType type) {
    for (int length : LENGTHS) {
      for (int rank : new int[] {1, 3, 4, 6, 17}) {
        for (int columns : new int[] {1, 5, 1000, 5000}) {
          int start = random.nextInt(length);
          int count = 1 + random.nextInt(length - start);
          assertAsDefined(weights(type, length), List.of(product(start, count, 0.25, random.nextInt(columns), columns, rank)));
          assertAsDefined(weights(type, length), List.of(product(0, length, 1, columns - 1, columns, rank)));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void productsOfManyRowsAreAddedToWeightsOfAnyBits(DType type) {
    for (int length : new int[] {1023, 4099}) {
      for (int rank : new int[] {1, 5, 16, 300}) {
        for (int columns : new int[] {31, 32, 64, 100, 255}) {
          int start = random.nextInt(length / 8);
          LowRank product = product(start, length - start - random.nextInt(70), -0.7, random.nextInt(3 * columns), columns, rank);
          assertAsDefined(weights(type, length), List.of(product));
          assertAsDefined(anyBits(type, length), List.of(product));
          product.left()[random.nextInt(product.left().length)] = 1e30f;
          product.right()[random.nextInt(product.right().length)] = Float.POSITIVE_INFINITY;
          product.right()[0] = Float.NaN;
          assertAsDefined(weights(type, length), List.of(product));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void differencesOfAnyBitsAreAddedToAnyBits(DType type) {
    for (int length : LENGTHS) {
      for (double factor : new double[] {1, -0.3}) {
        int start = random.nextInt(length);
        int count = 1 + random.nextInt(length - start);
        ByteBuffer tuned = anyBits(type, count).bytes();
        ByteBuffer base = anyBits(type, count).bytes();
        assertAsDefined(anyBits(type, length), List.of(new Difference(start, count, factor, type, tuned, type, base)));
        assertAsDefined(weights(type, length), List.of(new Difference(start, count, factor, type, tuned, type, tuned)));
      }
    }
  }

  @Test
  void aProductOfRankZeroChangesNothing() {
    Chunk chunk = weights(DType.BF16, 40);
    Rounding rounding = assertAsDefined(chunk, List.of(new LowRank(0, 40, 1, 3, 8, 0, new float[0], new float[0])));
    assertEquals(Rounding.NONE, rounding);
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void changesOfSeveralOperandsAreAddedInTheirOrder(DType type) {
    for (int length : new int[] {17, 1025, 4099}) {
      List<Operand> operands =
          List.of(
              new Values(1, length - 2, 3, DType.F16, weights(DType.F16, length - 2).bytes()),
              difference(0, length / 2, -1, DType.BF16, DType.F32),
              product(length / 4, length / 2, 0.1, 2, 7, 3),
              new Values(length - 1, 1, 1, DType.F64, weights(DType.F64, 1).bytes()));
      assertAsDefined(weights(type, length), operands);
    }
    // 1 + 2^24 - 2^24 is 0 in this order and 1 in the other.
    ByteBuffer one = values(DType.F32, 1).bytes();
    ByteBuffer big = values(DType.F32, 0x1p24).bytes();
    List<Operand> inOrder =
        List.of(new Values(0, 1, 1, DType.F32, one), new Values(0, 1, 1, DType.F32, big), new Values(0, 1, -1, DType.F32, big));
    List<Operand> reversed = List.of(inOrder.get(2), inOrder.get(1), inOrder.get(0));
    assertEquals(0, merged(values(DType.F32, 0), inOrder));
    assertEquals(1, merged(values(DType.F32, 0), reversed));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void changesThatDoNotMeetAreEachAddedToTheirPart(DType type) {
    List<Operand> rows =
        List.of(
            new Values(3, 200, 0.5, type, weights(type, 200).bytes()),
            difference(203, 1025, 1, type, type),
            product(1300, 700, 2, 5, 64, 4),
            new Values(2000, 0, 1, type, weights(type, 0).bytes()),
            new Values(2999, 1, 1, type, weights(type, 1).bytes()));
    assertAsDefined(weights(type, 3000), rows);
    assertAsDefined(weights(type, 3000), List.of(rows.get(1), rows.get(0), rows.get(2)));
  }

  @Test
  void theSumOfTheChangesIsAddedNotOneChangeAfterTheOther() {
    // Each 2^-24 alone would vanish beside 1.
    Operand small = new Values(0, 1, 1, DType.F32, values(DType.F32, 0x1p-24).bytes());
    assertEquals(1 + 0x1p-23f, merged(values(DType.F32, 1), List.of(small, small)));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16"})
  void everyWeightOfSixteenBitsGetsEveryChange(DType type) {
    float[] changes = {
      0, -0f, 0x1p-149f, 0x1p-133f, 0x1p-26f, 0x1p-25f, 0x1.8p-25f, -0x1p-24f, 0x1.8p-24f, 0x1.004p-15f, -0x1p-9f, 0.5f, 1, -1, 3.25f, 14.9f,
      65504, -65519.5f, 65520, 1e30f, 3.3e38f, -3.4e38f, Float.POSITIVE_INFINITY, Float.NaN
    };
    for (float change : changes) {
      ByteBuffer all = everyCode(type).bytes();
      ByteBuffer delta = ByteBuffer.allocateDirect(4 << 16).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < 1 << 16; i++) {
        delta.putFloat(4 * i, change);
      }
      assertAsDefined(new Chunk(type, all, 1 << 16), List.of(new Values(0, 1 << 16, 1, DType.F32, delta)));
    }
  }

  /** Blocks and steps that hold nothing infinite or NaN may be merged by other loops than those that do. */
  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16"})
  void everyFiniteWeightOfSixteenBitsGetsEveryFiniteChange(DType type) {
    ByteBuffer codes = everyCode(type).bytes();
    int[] finite = IntStream.range(0, 1 << 16).filter(code -> Double.isFinite(Codes.get(type, codes, code))).toArray();
    for (int from : new int[] {0, 977, 12_345, 31_000, 40_001}) {
      ByteBuffer weights = ByteBuffer.allocate(2 * finite.length).order(ByteOrder.LITTLE_ENDIAN);
      ByteBuffer values = ByteBuffer.allocate(2 * finite.length).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < finite.length; i++) {
        weights.putShort(2 * i, (short) finite[i]);
        values.putShort(2 * i, (short) finite[(i * 7 + from) % finite.length]);
      }
      for (double factor : new double[] {1, 0x1p-10, -0.37}) {
        Chunk chunk = new Chunk(type, weights, finite.length);
        assertAsDefined(new Chunk(type, ByteBuffer.wrap(bytes(chunk)).order(ByteOrder.LITTLE_ENDIAN), finite.length),
            List.of(new Values(0, finite.length, factor, type, values)));
        assertAsDefined(new Chunk(type, ByteBuffer.wrap(bytes(chunk)).order(ByteOrder.LITTLE_ENDIAN), finite.length),
            List.of(new Difference(0, finite.length, factor, type, values, type, weights)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void aChangeOfZeroKeepsAllBits(DType type) {
    int elements = 1 << Math.min(16, type.bits());
    for (double zero : new double[] {0, -0.0}) {
      Chunk chunk = everyCode(type);
      byte[] before = bytes(chunk);
      ByteBuffer zeros = ByteBuffer.allocate(4 * elements).order(ByteOrder.LITTLE_ENDIAN);
      IntStream.range(0, elements).forEach(i -> zeros.putFloat(4 * i, (float) zero));
      ByteBuffer same = everyCode(DType.BF16).bytes();
      List<Operand> operands =
          List.of(
              new Values(0, elements, 1, DType.F32, zeros),
              new Values(0, Math.min(elements, 0x7f80), 0, DType.BF16, same),
              new Difference(0, Math.min(elements, 0x7f80), 5, DType.BF16, same, DType.BF16, same));
      assertEquals(Rounding.NONE, merger().merge(chunk, operands));
      assertEquals(ByteBuffer.wrap(before), ByteBuffer.wrap(bytes(chunk)));
    }
  }

  @Test
  void weightsThatAreNanOrInfiniteKeepTheirBits() {
    int[] f32 = {0x7f80_0001, 0xffc1_2345, 0x7fff_ffff, 0x7f80_0000, 0xff80_0000};
    ByteBuffer bytes = ByteBuffer.allocate(20).order(ByteOrder.LITTLE_ENDIAN);
    IntStream.range(0, 5).forEach(i -> bytes.putInt(4 * i, f32[i]));
    Operand ones = new Values(0, 5, 1, DType.F32, values(DType.F32, 1, 1, 1, 1, Double.NEGATIVE_INFINITY).bytes());
    assertEquals(Rounding.NONE, merger().merge(new Chunk(DType.F32, bytes, 5), List.of(ones)));
    IntStream.range(0, 5).forEach(i -> assertEquals(f32[i], bytes.getInt(4 * i)));

    long[] f64 = {0x7ff0_0000_0000_0001L, 0xfff8_0000_dead_beefL, 0x7ff0_0000_0000_0000L};
    ByteBuffer wide = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
    IntStream.range(0, 3).forEach(i -> wide.putLong(8 * i, f64[i]));
    assertEquals(Rounding.NONE, merger().merge(new Chunk(DType.F64, wide, 3), List.of(ones)));
    IntStream.range(0, 3).forEach(i -> assertEquals(f64[i], wide.getLong(8 * i)));
  }

  @Test
  void everyKindOfRoundingIsCounted() {
    Chunk f16 = values(DType.F16, 1, 1, 65504, 65504, 2, -65504, 0, 5, Double.NaN, Double.POSITIVE_INFINITY);
    Operand changes =
        new Values(0, 10, 1, DType.F32, values(DType.F32, 0x1p-13, 0.5, 15, 16, Double.NaN, -100, 0, Double.POSITIVE_INFINITY, 1, 1).bytes());
    // Vanished: 1 + 2^-13 and 65504 + 15. Overflowed: 65504 + 16 and -65504 - 100.
    assertEquals(new Rounding(7, 2, 2, 2), assertAsDefined(f16, List.of(changes)));

    Chunk f32 = values(DType.F32, 3e38, 1);
    Operand huge = new Values(0, 2, 1, DType.F32, values(DType.F32, 3e38, 1e-20).bytes());
    assertEquals(new Rounding(2, 1, 0, 1), assertAsDefined(f32, List.of(huge)));

    Chunk f64 = values(DType.F64, 1e308, 1, 1);
    Operand wide = new Values(0, 3, 1, DType.F64, values(DType.F64, 1e308, 1e-20, 1e-10).bytes());
    assertEquals(new Rounding(3, 1, 0, 1), assertAsDefined(f64, List.of(wide)));

    Chunk e4m3 = values(DType.F8_E4M3, 448, 448, 448, 1);
    Operand small = new Values(0, 4, 1, DType.BF16, values(DType.BF16, 16, 17, -448, 0.0625).bytes());
    // 1.0625 lies between 1 and 1.125 and goes to the even code, 1.
    assertEquals(new Rounding(4, 2, 1, 0), assertAsDefined(e4m3, List.of(small)));
    assertEquals(0x7f, e4m3.bytes().get(1));
  }

  @Test
  void aNegativeZeroThatAChangeTooSmallTurnsPositiveHasNotVanished() {
    Chunk chunk = values(DType.BF16, -0.0, 0.0);
    Operand tiny = new Values(0, 2, 1, DType.F32, values(DType.F32, 0x1p-149, 0x1p-149).bytes());
    assertEquals(new Rounding(2, 1, 0, 0), merger().merge(chunk, List.of(tiny)));
    assertEquals(0, chunk.bytes().getShort(0));
  }

  @Test
  void factorsAreRoundedToFloat32First() {
    double factor = 0.1;
    float value = 9;
    assertNotEquals((float) (value * factor), value * (float) factor);
    assertEquals(
        value * (float) factor, merged(values(DType.F32, 0), List.of(new Values(0, 1, factor, DType.F32, values(DType.F32, value).bytes()))));
    // In float64 arithmetic the factor stays as it is.
    Chunk wide = values(DType.F64, 0);
    merger().merge(wide, List.of(new Values(0, 1, factor, DType.F32, values(DType.F32, value).bytes())));
    assertEquals(value * factor, wide.bytes().getDouble(0));
  }

  @Test
  void scalingIsNotFusedWithAdding() {
    float x = 1 + 0x1p-12f;
    float fused = Math.fma(x, x, -1f);
    assertNotEquals(fused, x * x - 1f);
    Operand scaled = new Values(0, 1, x, DType.F32, values(DType.F32, x).bytes());
    assertEquals(x * x - 1f, merged(values(DType.F32, -1), List.of(scaled)));
    Operand one = new Values(0, 1, 1, DType.F32, values(DType.F32, -1).bytes());
    assertEquals(x * x - 1f, merged(values(DType.F32, 0), List.of(one, scaled)));
  }

  @Test
  void productsAreNotFusedWithTheirSum() {
    float x = 1 + 0x1p-12f;
    float fused = Math.fma(x, x, -1f);
    float unfused = -1f + x * x;
    assertNotEquals(fused, unfused);
    Operand product = new LowRank(0, 1, 1, 0, 1, 2, new float[] {-1, x}, new float[] {1, x});
    assertEquals(unfused, merged(values(DType.F32, 0), List.of(product)));

    double y = (float) (1 + 0x1p-12);
    double big = 0x1p40;
    double exact = Math.fma(y, y, -big);
    assertEquals(-big + y * y, exact, "products of floats are exact in float64, so fusing changes nothing there");
  }

  @Test
  void productsAreSummedFromTheFirstRankToTheLast() {
    Operand rising = new LowRank(0, 1, 1, 0, 1, 3, new float[] {1, 1, 1}, new float[] {1, 0x1p24f, -0x1p24f});
    Operand falling = new LowRank(0, 1, 1, 0, 1, 3, new float[] {1, 1, 1}, new float[] {-0x1p24f, 0x1p24f, 1});
    assertEquals(0, merged(values(DType.F32, 0), List.of(rising)));
    assertEquals(1, merged(values(DType.F32, 0), List.of(falling)));
  }

  @Test
  void float64WeightsAreChangedInFloat64() {
    Chunk chunk = values(DType.F64, 1, 1);
    Operand values = new Values(0, 1, 1, DType.F64, values(DType.F64, 0x1p-50).bytes());
    Operand difference =
        new Difference(1, 1, 1, DType.F64, values(DType.F64, 1 + 0x1p-50).bytes(), DType.F32, values(DType.F32, 1).bytes());
    assertEquals(new Rounding(2, 0, 0, 0), merger().merge(chunk, List.of(values, difference)));
    assertEquals(1 + 0x1p-50, chunk.bytes().getDouble(0));
    assertEquals(1 + 0x1p-50, chunk.bytes().getDouble(8));
  }

  @Test
  void elementsOutsideAllOperandsAreNotWritten() {
    Chunk chunk = weights(DType.BF16, 3000);
    byte[] before = bytes(chunk);
    Operand one = new Values(1030, 3, 1, DType.F32, values(DType.F32, 1e6, 1e6, 1e6).bytes());
    assertEquals(new Rounding(3, 0, 0, 0), merger().merge(chunk, List.of(one)));
    byte[] after = bytes(chunk);
    for (int i = 0; i < 3000; i++) {
      boolean same = before[2 * i] == after[2 * i] && before[2 * i + 1] == after[2 * i + 1];
      assertEquals(i < 1030 || i >= 1033, same);
    }
  }

  @Test
  void nothingToMergeIsCountedAsNothing() {
    assertEquals(Rounding.NONE, merger().merge(weights(DType.F16, 0), List.of()));
    assertEquals(Rounding.NONE, merger().merge(weights(DType.F64, 9), List.of()));
  }

  private double merged(Chunk chunk, List<Operand> operands) {
    merger().merge(chunk, operands);
    return Codes.get(chunk.dtype(), chunk.bytes(), 0);
  }

  /** Merges, and checks bits and counts against the contract read literally. */
  private Rounding assertAsDefined(Chunk chunk, List<Operand> operands) {
    ByteBuffer copy = ByteBuffer.wrap(bytes(chunk)).order(ByteOrder.LITTLE_ENDIAN);
    Rounding expected = NaiveMerger.merge(new Chunk(chunk.dtype(), copy, chunk.elements()), operands);
    Rounding found = merger().merge(chunk, operands);
    assertEquals(expected, found, () -> chunk.dtype() + " of " + chunk.elements() + " with " + operands);
    int size = chunk.dtype().bytes();
    for (int i = 0; i < chunk.elements(); i++) {
      if (!copy.slice(i * size, size).equals(chunk.bytes().slice(i * size, size))) {
        boolean bothNan = Double.isNaN(Codes.get(chunk.dtype(), copy, i)) && Double.isNaN(Codes.get(chunk.dtype(), chunk.bytes(), i));
        int element = i;
        assertTrue(bothNan, () -> "element " + element + " of " + chunk.dtype() + " with " + operands);
      }
    }
    return found;
  }

  private Difference difference(int start, int count, double factor, DType tuned, DType base) {
    return new Difference(start, count, factor, tuned, weights(tuned, count).bytes(), base, weights(base, count).bytes());
  }

  private LowRank product(int start, int count, double factor, int column, int columns, int rank) {
    int rows = (column + count + columns - 1) / columns;
    float[] left = new float[rows * rank];
    float[] right = new float[rank * columns];
    for (int i = 0; i < left.length; i++) {
      left[i] = (float) random.nextGaussian();
    }
    for (int i = 0; i < right.length; i++) {
      right[i] = (float) random.nextGaussian();
    }
    return new LowRank(start, count, factor, column, columns, rank, left, right);
  }

  private static Chunk values(DType type, double... values) {
    return new Chunk(type, ByteBuffer.wrap(Codes.bytes(type, values)).order(ByteOrder.LITTLE_ENDIAN), values.length);
  }

  private Chunk weights(DType type, int count) {
    ByteBuffer bytes = ByteBuffer.allocate(count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      Codes.put(type, bytes, i, random.nextGaussian());
    }
    return new Chunk(type, bytes, count);
  }

  private Chunk anyBits(DType type, int count) {
    byte[] bytes = new byte[count * type.bytes()];
    random.nextBytes(bytes);
    return new Chunk(type, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN), count);
  }

  private static Chunk everyCode(DType type) {
    int elements = 1 << type.bits();
    ByteBuffer bytes = ByteBuffer.allocate(elements * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < elements; i++) {
      if (type.bytes() == 1) {
        bytes.put(i, (byte) i);
      } else {
        bytes.putShort(2 * i, (short) i);
      }
    }
    return new Chunk(type, bytes, elements);
  }

  private static byte[] bytes(Chunk chunk) {
    byte[] bytes = new byte[chunk.elements() * chunk.dtype().bytes()];
    chunk.bytes().get(0, bytes);
    return bytes;
  }
}
