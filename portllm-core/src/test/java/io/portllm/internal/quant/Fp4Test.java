package io.portllm.internal.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class Fp4Test {
  private static final int[] LEVELS = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

  @Test
  void codesAreTheFirstOfTheNearestLevels() {
    Random random = new Random(6);
    float[] scales = {0, 0x1p-129f, 0x1p-100f, 0x1.ep-7f, 0x1.2p0f, 1, 224};
    float[] factors = {0, -0f, 0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10, 12, 1e3f, 1e7f, 1e30f};
    float[] values = new float[16];
    byte[] codes = new byte[8];
    for (int round = 0; round < 20_000; round++) {
      float scale = scales[random.nextInt(scales.length)];
      int most = 1 + random.nextInt(factors.length);
      float magnitude = 0;
      for (int i = 0; i < 16; i++) {
        // Middles of levels, one step beside them, and values between.
        float value = factors[random.nextInt(most)] * (scale == 0 ? 1 : scale) * (random.nextBoolean() ? 1 : -1);
        values[i] = switch (random.nextInt(4)) {
          case 0 -> Math.nextUp(value);
          case 1 -> Math.nextDown(value);
          case 2 -> value * random.nextFloat();
          default -> value;
        };
        magnitude = Math.max(magnitude, Math.abs(values[i]));
      }
      Fp4.write(values, 0, 8, scale, magnitude, codes, 0);
      for (int i = 0; i < 16; i++) {
        float value = values[i];
        assertEquals(nearest(value, scale), codes[i & 7] >> (i >> 3 << 2) & 15, () -> value + " at scale " + scale);
      }
    }
  }

  private static int nearest(float value, float scale) {
    int best = 0;
    for (int code = 1; code < 16; code++) {
      if (Math.abs(LEVELS[code] * scale - value) < Math.abs(LEVELS[best] * scale - value)) {
        best = code;
      }
    }
    return best;
  }

  /** How many float32 steps below a power of two glibc's log2f still is that power's logarithm. */
  @ParameterizedTest
  @CsvSource({
    "-126, 22, 23", "-125, 44, 45", "-60, 22, 23", "-1, 0, 1",
    "1, 0, 1", "2, 0, 1", "3, 1, 2", "8, 2, 3", "9, 5, 6", "60, 22, 23", "127, 44, 45"
  })
  void exponentsBelowPowersOfTwoAreThoseOfTheRoundedLogarithm(int power, int last, int first) {
    assertEquals(power - 2 + 127 & 0xff, exponent(power, last));
    assertEquals(power - 3 + 127 & 0xff, exponent(power, first));
  }

  private static int exponent(int power, int steps) {
    float[] values = new float[32];
    values[3] = -Float.intBitsToFloat((power + 127 << 23) - steps);
    ByteBuffer block = ByteBuffer.allocate(17).order(ByteOrder.LITTLE_ENDIAN);
    BlockCodecs.of(DType.MXFP4).quantise(values, 0, 32, block, 0);
    return block.get(0) & 0xff;
  }
}
