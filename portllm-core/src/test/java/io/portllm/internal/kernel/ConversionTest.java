package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.DType;
import io.portllm.Rounding;
import io.portllm.testing.Codes;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ConversionTest {
  private static final List<DType> TYPES =
      List.of(DType.F64, DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2);

  @Test
  void everyTypeBecomesTheNearestOfEveryOther() {
    Random random = new Random(11);
    int count = 2500;
    for (DType from : TYPES) {
      byte[] source = Codes.bytes(from, random.doubles(count).map(x -> random.nextGaussian()).toArray());
      for (DType to : TYPES) {
        ByteBuffer target = little(count * to.bytes());
        Rounding rounding = Conversion.convert(from, little(source), to, target, count);
        assertEquals(new Rounding(count, 0, 0, 0), rounding);
        byte[] expected = Codes.bytes(to, Codes.values(from, source));
        assertEquals(ByteBuffer.wrap(expected), target);
      }
    }
  }

  /** Through float32, both would first become a midpoint and then go to the even neighbour. */
  @Test
  void float64IsRoundedOnceNotThroughFloat32() {
    assertEquals(1.0078125, converted(DType.BF16, 1 + 0x1p-8 + 0x1p-40));
    assertEquals(1, converted(DType.BF16, 1 + 0x1p-8));
    assertEquals(1.0078125, converted(DType.BF16, 1 + 0x1p-7 + 0x1p-8 - 0x1p-40));
    assertEquals(-1.0078125, converted(DType.BF16, -1 - 0x1p-8 - 0x1p-40));
    assertEquals(1 + 0x1p-10, converted(DType.F16, 1 + 0x1p-11 + 0x1p-50));
    assertEquals(0x1p-24, converted(DType.F16, 0x1p-25 + 0x1p-70));
    assertEquals(0x1p-133, converted(DType.BF16, 0x1p-134 + 0x1p-180));
    assertEquals(1.125, converted(DType.F8_E4M3, 1.0625 + 0x1p-45));
    assertEquals(448, converted(DType.F8_E4M3, 464));
    assertEquals(Double.NaN, converted(DType.F8_E4M3, 464 + 0x1p-40));
    assertEquals(65504, converted(DType.F16, 65520 - 0x1p-35));
  }

  @Test
  void float64RoundsAsExactDecimalsSay() {
    Random random = new Random(12);
    for (DType to : List.of(DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2)) {
      double[] values = Codes.finite(to);
      for (int i = 0; i < 2000; i++) {
        int code = random.nextInt(values.length - 1);
        double middle = (values[code] + values[code + 1]) / 2;
        double near = middle * (1 + (random.nextInt(5) - 2) * 0x1p-50);
        BigDecimal down = new BigDecimal(near).subtract(new BigDecimal(values[code]));
        BigDecimal up = new BigDecimal(values[code + 1]).subtract(new BigDecimal(near));
        int order = down.compareTo(up);
        int expected = order < 0 || order == 0 && code % 2 == 0 ? code : code + 1;
        assertEquals(values[expected], converted(to, near), () -> to + " of " + near);
      }
    }
  }

  @Test
  void finiteValuesThatLeaveTheRangeAreCountedAndOthersNot() {
    double[] values = {1, 1e300, -1e300, Double.POSITIVE_INFINITY, Double.NaN, 65520, 65519};
    ByteBuffer target = little(14);
    Rounding rounding = Conversion.convert(DType.F64, little(Codes.bytes(DType.F64, values)), DType.F16, target, 7);
    assertEquals(new Rounding(7, 0, 3, 0), rounding);
    double[] expected = {1, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, Double.POSITIVE_INFINITY, Double.NaN, Double.POSITIVE_INFINITY, 65504};
    for (int i = 0; i < 7; i++) {
      assertEquals(expected[i], Codes.get(DType.F16, target, i));
    }
    ByteBuffer wide = little(8);
    assertEquals(
        new Rounding(1, 0, 1, 0), Conversion.convert(DType.F64, little(Codes.bytes(DType.F64, 1e300)), DType.F32, wide, 1));
    assertEquals(
        new Rounding(1, 0, 0, 0),
        Conversion.convert(DType.F32, little(Codes.bytes(DType.F32, Double.POSITIVE_INFINITY)), DType.F64, wide, 1));
  }

  private static double converted(DType to, double value) {
    ByteBuffer target = little(to.bytes());
    Conversion.convert(DType.F64, little(Codes.bytes(DType.F64, value)), to, target, 1);
    return Codes.get(to, target, 0);
  }

  private static ByteBuffer little(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
