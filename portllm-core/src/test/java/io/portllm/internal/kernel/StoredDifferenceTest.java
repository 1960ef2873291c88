package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.DType;
import io.portllm.internal.kernel.StoredDifference.Facts;
import io.portllm.testing.Codes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

class StoredDifferenceTest {
  @Test
  void equalWeightsDifferByZeroWhateverTheSignOfZero() {
    assertEquals(new Facts(true, true, true), facts(DType.F32, values(3, -0.0, 0), DType.F32, values(3, 0, 0)));
    assertEquals(true, facts(DType.F32, values(-0.0), DType.F32, values(0)).allZero());
    assertEquals(new Facts(true, false, false), facts(DType.F64, values(3, 0), DType.F32, values(3, -0.0)));
  }

  @Test
  void aTypeFitsWhereItHoldsEveryDifferenceExactly() {
    assertEquals(new Facts(false, true, true), facts(DType.F32, values(1.5, 2), DType.F32, values(1, 2)));
    assertEquals(new Facts(false, true, false), facts(DType.F32, values(0x1p100, 2), DType.F32, values(0, 2)));
    assertEquals(new Facts(false, false, true), facts(DType.F32, values(1 + 0x1p-10, 2), DType.F32, values(0, 2)));
    assertEquals(new Facts(false, false, false), facts(DType.F32, values(1 + 0x1p-20, 2), DType.F32, values(0, 2)));
  }

  @Test
  void oneDifferenceInALaterBlockCounts() {
    double[] tuned = new double[3000];
    tuned[2999] = 1 + 0x1p-20;
    assertEquals(new Facts(false, false, false), facts(DType.F32, tuned, DType.BF16, new double[3000]));
    tuned[2999] = 0;
    assertEquals(new Facts(true, true, true), facts(DType.F32, tuned, DType.BF16, new double[3000]));
    tuned[2999] = 0x1p-60;
    assertEquals(new Facts(false, false, false), facts(DType.F64, tuned, DType.BF16, new double[3000]));
  }

  @Test
  void earlierFactsAreKept() {
    Facts none = new Facts(false, false, false);
    ByteBuffer zero = bytes(DType.F32, values(0));
    assertEquals(none, StoredDifference.examine(none, DType.F32, zero, DType.F32, zero, 1));
  }

  @Test
  void nanAndInfinityAreNoZero() {
    assertEquals(false, facts(DType.F32, values(Double.NaN), DType.F32, values(Double.NaN)).allZero());
    assertEquals(false, facts(DType.F64, values(Double.POSITIVE_INFINITY), DType.F64, values(Double.POSITIVE_INFINITY)).allZero());
  }

  @Test
  void aNanFitsWhereRoundingKeepsItsBits() {
    for (int bits : new int[] {0x7fc0_0000, 0x7f80_0001, 0xffc1_0000, 0x7f81_0000, 0x7f80_0000, 0x7fc0_0001}) {
      float[] values = {1, Float.intBitsToFloat(bits), 2};
      for (DType type : new DType[] {DType.BF16, DType.F16}) {
        ByteBuffer stored = ByteBuffer.allocate(6).order(ByteOrder.LITTLE_ENDIAN);
        StoredDifference.write(values, 3, type, stored);
        float[] back = new float[3];
        Floats.read(type, stored, 0, back, 3, new int[3]);
        boolean kept = Float.floatToRawIntBits(back[1]) == bits;
        Facts facts = StoredDifference.examine(Facts.NONE, values, 3);
        assertEquals(kept, type == DType.BF16 ? facts.fitsBf16() : facts.fitsF16(), type + " " + Integer.toHexString(bits));
      }
    }
  }

  @Test
  void differencesAreWrittenAsTheyAreAdded() {
    double[] tuned = new double[1500];
    double[] base = new double[1500];
    for (int i = 0; i < 1500; i++) {
      tuned[i] = i;
      base[i] = 2 * i + 0.25;
    }
    for (DType to : new DType[] {DType.F64, DType.F32}) {
      ByteBuffer target = ByteBuffer.allocate(1500 * to.bytes()).order(ByteOrder.LITTLE_ENDIAN);
      StoredDifference.write(DType.F32, bytes(DType.F32, tuned), DType.F64, bytes(DType.F64, base), to, target, 1500);
      for (int i = 0; i < 1500; i++) {
        assertEquals(-i - 0.25, Codes.get(to, target, i));
      }
    }
    ByteBuffer small = ByteBuffer.allocate(2).order(ByteOrder.LITTLE_ENDIAN);
    StoredDifference.write(DType.F32, bytes(DType.F32, values(1.5)), DType.BF16, bytes(DType.BF16, values(1)), DType.F16, small, 1);
    assertEquals(0.5, Codes.get(DType.F16, small, 0));
  }

  private static Facts facts(DType tunedType, double[] tuned, DType baseType, double[] base) {
    return StoredDifference.examine(
        Facts.NONE, tunedType, bytes(tunedType, tuned), baseType, bytes(baseType, base), tuned.length);
  }

  private static double[] values(double... values) {
    return values;
  }

  private static ByteBuffer bytes(DType type, double... values) {
    return ByteBuffer.wrap(Codes.bytes(type, values)).order(ByteOrder.LITTLE_ENDIAN);
  }
}
