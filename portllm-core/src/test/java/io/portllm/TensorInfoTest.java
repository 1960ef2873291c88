package io.portllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

class TensorInfoTest {
  @Test
  void bytesAreElementsTimesTheirSize() {
    assertEquals(48, new TensorInfo("x", DType.BF16, Shape.of(4, 6)).bytes());
    assertEquals(8, new TensorInfo("x", DType.F64, Shape.of()).bytes());
    assertEquals(0, new TensorInfo("x", DType.F64, Shape.of(0, 7)).bytes());
    assertEquals(3, new TensorInfo("x", DType.F4, Shape.of(6)).bytes());
    assertEquals(3, new TensorInfo("x", DType.F6_E2M3, Shape.of(4)).bytes());
  }

  @Test
  void bytesThatDoNotFitALongAreRefused() {
    TensorInfo large = new TensorInfo("x", DType.F32, Shape.of(1L << 62));
    assertThrows(ArithmeticException.class, large::bytes);
  }

  @Test
  void nothingMayBeMissing() {
    assertThrows(NullPointerException.class, () -> new TensorInfo(null, DType.F32, Shape.of()));
    assertThrows(NullPointerException.class, () -> new TensorInfo("x", null, Shape.of()));
    assertThrows(NullPointerException.class, () -> new TensorInfo("x", DType.F32, null));
  }

  @Test
  void typesAreKnownByTheirExactName() {
    for (DType type : DType.values()) {
      assertEquals(Optional.of(type), DType.named(type.name()));
    }
    assertEquals(Optional.empty(), DType.named("bf16"));
    assertEquals(Optional.empty(), DType.named(""));
  }

  @Test
  void quantisedTensorsHaveTheBytesOfTheirBlocks() {
    assertEquals(3 * 2 * 144, new TensorInfo("x", DType.Q4_K, Shape.of(3, 512)).bytes());
    assertEquals(2 * 18, new TensorInfo("x", DType.Q4_0, Shape.of(64)).bytes());
    assertThrows(IllegalStateException.class, DType.Q4_0::bits);
    String message = assertThrows(IllegalArgumentException.class, () -> new TensorInfo("x", DType.Q4_K, Shape.of(256, 32))).getMessage();
    assertEquals("the last dimension of a Q4_K tensor must be a multiple of 256 but the shape was [256, 32]", message);
  }

  @Test
  void sixTypesTakePartInArithmetic() {
    Set<DType> arithmetic = EnumSet.noneOf(DType.class);
    for (DType type : DType.values()) {
      if (type.isArithmetic()) {
        arithmetic.add(type);
      }
    }
    assertEquals(EnumSet.of(DType.F64, DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2), arithmetic);
  }

  @Test
  void elementsOfLessThanAByteHaveNoSizeInBytes() {
    assertEquals(8, DType.C64.bytes());
    assertEquals(1, DType.BOOL.bytes());
    IllegalStateException e = assertThrows(IllegalStateException.class, DType.F4::bytes);
    assertTrue(e.getMessage().contains("F4"));
  }
}
