package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.DType;
import io.portllm.testing.Codes;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FloatsTest {
  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void everyCodeWidensToTheValueThatItsBitsDefine(DType type) {
    for (int bits = 0; bits < 1 << type.bits(); bits++) {
      float widened = widen(type, bits);
      double expected = Codes.decode(type, bits);
      if (Double.isNaN(expected)) {
        assertTrue(Float.isNaN(widened), () -> type + " is NaN");
        assertEquals((bits & Codes.signBit(type)) != 0, Float.floatToRawIntBits(widened) < 0, "the sign of a NaN stays");
      } else {
        assertEquals(expected, widened, 0, () -> type + " has another value");
        assertEquals(1 / expected > 0, 1 / widened > 0, "zero keeps its sign");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void everyCodeComesBackFromFloat32(DType type) {
    for (int bits = 0; bits < 1 << type.bits(); bits++) {
      int back = narrow(type, widen(type, bits));
      if (Double.isNaN(Codes.decode(type, bits))) {
        assertNan(type, back, bits);
      } else {
        assertEquals(bits, back);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E5M2"})
  void quietNansKeepTheirPayload(DType type) {
    int quiet = Codes.pastLargest(type) | Integer.highestOneBit(~Codes.pastLargest(type) & (Codes.signBit(type) - 1));
    for (int bits = quiet; bits < Codes.signBit(type); bits++) {
      assertEquals(bits, narrow(type, widen(type, bits)));
      assertEquals(bits | Codes.signBit(type), narrow(type, widen(type, bits | Codes.signBit(type))));
    }
  }

  /** At the midpoint of two neighbours the even code wins; one float below it the lower does, one above it the higher. */
  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void betweenTwoNeighboursTheNearestIsTakenAndTheEvenOneInTheMiddle(DType type) {
    double[] values = Codes.finite(type);
    for (int code = 0; code + 1 < values.length; code++) {
      double exactMiddle = (values[code] + values[code + 1]) / 2;
      float middle = (float) exactMiddle;
      assertEquals(exactMiddle, middle, 0, "midpoints are floats");
      assertRoundsTo(type, code % 2 == 0 ? code : code + 1, middle);
      assertRoundsTo(type, code, Math.nextDown(middle));
      assertRoundsTo(type, code + 1, Math.nextUp(middle));
      assertRoundsTo(type, code, Math.nextUp((float) values[code]));
      assertRoundsTo(type, code + 1, Math.nextDown((float) values[code + 1]));
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void everyFloatOnACoarseGridRoundsAsTheSearchSays(DType type) {
    for (long bits = 0; bits < 1L << 32; bits += 65_521) {
      float value = Float.intBitsToFloat((int) bits);
      if (!Float.isNaN(value)) {
        assertEquals(Codes.encode(type, value), narrow(type, value), () -> type + " of " + value);
      }
    }
  }

  @Test
  void pastTheLargestValueLiesInfinity() {
    assertRoundsTo(DType.F16, 0x7bff, 65504f);
    assertRoundsTo(DType.F16, 0x7bff, Math.nextDown(65520f));
    assertRoundsTo(DType.F16, 0x7c00, 65520f);
    assertRoundsTo(DType.F16, 0x7c00, Float.MAX_VALUE);
    assertRoundsTo(DType.F8_E5M2, 0x7b, 57344f);
    assertRoundsTo(DType.F8_E5M2, 0x7b, Math.nextDown(61440f));
    assertRoundsTo(DType.F8_E5M2, 0x7c, 61440f);
    assertRoundsTo(DType.BF16, 0x7f7f, Float.intBitsToFloat(0x7f7f_7fff));
    assertRoundsTo(DType.BF16, 0x7f80, Float.intBitsToFloat(0x7f7f_8000));
    assertRoundsTo(DType.BF16, 0x7f80, Float.MAX_VALUE);
    for (DType type : new DType[] {DType.F16, DType.BF16, DType.F8_E5M2}) {
      assertRoundsTo(type, Codes.pastLargest(type), Float.POSITIVE_INFINITY);
    }
  }

  @Test
  void pastTheLargestValueOfE4m3LiesNan() {
    assertRoundsTo(DType.F8_E4M3, 0x7e, 448f);
    assertRoundsTo(DType.F8_E4M3, 0x7e, 464f);
    assertRoundsTo(DType.F8_E4M3, 0x7f, Math.nextUp(464f));
    assertRoundsTo(DType.F8_E4M3, 0x7f, 465f);
    assertRoundsTo(DType.F8_E4M3, 0x7f, 480f);
    assertRoundsTo(DType.F8_E4M3, 0x7f, Float.MAX_VALUE);
    assertRoundsTo(DType.F8_E4M3, 0x7f, Float.POSITIVE_INFINITY);
  }

  @Test
  void belowHalfTheSmallestValueLiesZeroOfTheSameSign() {
    for (DType type : new DType[] {DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2}) {
      double smallest = Codes.finite(type)[1];
      assertRoundsTo(type, 0, (float) (smallest / 2));
      assertRoundsTo(type, 1, Math.nextUp((float) (smallest / 2)));
      assertRoundsTo(type, 1, (float) smallest);
      assertRoundsTo(type, 0, Float.MIN_VALUE);
      assertRoundsTo(type, 0, 0f);
    }
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void nanStaysNanWhateverItsPayload(DType type) {
    for (int payload = 1; payload < 1 << 23; payload = payload < 64 ? payload + 1 : 2 * payload + 1) {
      for (int sign : new int[] {0, 0x8000_0000}) {
        float nan = Float.intBitsToFloat(sign | 0x7f80_0000 | payload);
        assertNan(type, narrow(type, nan), sign == 0 ? 0 : Codes.signBit(type));
      }
    }
  }

  @Test
  void float32AndFloat64PassUnchanged() {
    int[] patterns = {0, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000, 0x7fc0_0123, 0x7f7f_ffff, 0x3f80_0001};
    for (int pattern : patterns) {
      assertEquals(pattern, narrow(DType.F32, widen(DType.F32, pattern)));
    }
    ByteBuffer bytes = little(24).putDouble(0, Math.PI).putDouble(8, -0.0).putDouble(16, 1e300);
    double[] read = new double[3];
    Floats.read(DType.F64, bytes, 0, read, 3, new int[3], new float[3]);
    assertEquals(Math.PI, read[0]);
    assertEquals(Double.doubleToRawLongBits(-0.0), Double.doubleToRawLongBits(read[1]));
    assertEquals(1e300, read[2]);
  }

  @Test
  void float64ReadAsFloat32IsRoundedToNearest() {
    ByteBuffer bytes = little(24).putDouble(0, 1 + 0x1p-24).putDouble(8, 1 + 3 * 0x1p-24).putDouble(16, 1e300);
    float[] read = new float[3];
    Floats.read(DType.F64, bytes, 0, read, 3, new int[3]);
    assertEquals(1f, read[0]);
    assertEquals(1 + 0x1p-22f, read[1]);
    assertEquals(Float.POSITIVE_INFINITY, read[2]);
  }

  @Test
  void differencesOfFloat64AreTakenBeforeTheyAreRounded() {
    ByteBuffer tuned = little(8).putDouble(0, 1 + 0x1p-40);
    ByteBuffer base = little(8).putDouble(0, 1);
    ByteBuffer one = little(4).putFloat(0, 1);
    float[] read = new float[1];
    Floats.readDifference(DType.F64, tuned, DType.F64, base, 0, read, new float[1], 1, new int[1]);
    assertEquals(0x1p-40f, read[0]);
    Floats.readDifference(DType.F64, tuned, DType.F32, one, 0, read, new float[1], 1, new int[1]);
    assertEquals(0x1p-40f, read[0]);
    Floats.readDifference(DType.F32, one, DType.F64, tuned, 0, read, new float[1], 1, new int[1]);
    assertEquals(-0x1p-40f, read[0]);
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void bitsAreReadAndWrittenFromAnyElementOn(DType type) {
    int size = type.bytes();
    ByteBuffer bytes = little(9 * size);
    for (int i = 0; i < bytes.capacity(); i++) {
      bytes.put(i, (byte) (0x80 + 7 * i));
    }
    int[] bits = new int[4];
    Floats.readBits(type, bytes, 3, bits, 4);
    ByteBuffer copy = little(9 * size);
    Floats.writeBits(type, bits, copy, 5, 4);
    for (int i = 0; i < 9 * size; i++) {
      assertEquals(i < 5 * size ? 0 : bytes.get(i - 2 * size), copy.get(i));
    }
  }

  @Test
  void typesWithoutFloat32ArithmeticAreRefused() {
    Set<DType> none = EnumSet.complementOf(EnumSet.of(DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2));
    for (DType type : none) {
      assertThrows(IllegalArgumentException.class, () -> Floats.specialMask(type));
      assertThrows(IllegalArgumentException.class, () -> widen(type, 0));
      assertThrows(IllegalArgumentException.class, () -> narrow(type, 0));
    }
  }

  @Test
  void float16AgreesWithTheJdk() throws ReflectiveOperationException {
    assumeTrue(Runtime.version().feature() >= 20, "Float.float16ToFloat came with JDK 20");
    Method widen = Float.class.getMethod("float16ToFloat", short.class);
    Method narrow = Float.class.getMethod("floatToFloat16", float.class);
    for (int bits = 0; bits < 1 << 16; bits++) {
      float expected = (float) widen.invoke(null, (short) bits);
      if (!Float.isNaN(expected)) {
        assertEquals(Float.floatToRawIntBits(expected), Float.floatToRawIntBits(widen(DType.F16, bits)));
      } else {
        assertTrue(Float.isNaN(widen(DType.F16, bits)));
      }
    }
    for (long bits = 0; bits < 1L << 32; bits += 4_093) {
      float value = Float.intBitsToFloat((int) bits);
      if (!Float.isNaN(value)) {
        assertEquals((short) narrow.invoke(null, value), (short) narrow(DType.F16, value));
      }
    }
  }

  private static void assertRoundsTo(DType type, int code, float value) {
    assertEquals(code, narrow(type, value), () -> type + " of " + value);
    assertEquals(code | Codes.signBit(type), narrow(type, -value), () -> type + " of " + -value);
  }

  private static void assertNan(DType type, int bits, int sign) {
    assertTrue(Double.isNaN(Codes.decode(type, bits)), () -> type + " " + Integer.toHexString(bits) + " is no NaN");
    assertEquals(sign & Codes.signBit(type), bits & Codes.signBit(type), "the sign of a NaN stays");
    assertEquals(0, bits >>> type.bits());
  }

  private static float widen(DType type, int bits) {
    float[] value = new float[1];
    Floats.widen(type, new int[] {bits}, value, 1);
    return value[0];
  }

  private static int narrow(DType type, float value) {
    int[] bits = new int[1];
    Floats.narrow(type, new float[] {value}, bits, 1);
    return bits[0];
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
