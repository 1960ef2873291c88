package io.portllm.internal.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import org.junit.jupiter.api.Test;

/** Extremes against the plain loops of the reference, in which the first of equal values stays. */
class ExtremesTest {
  @Test
  void theFirstOfEqualValuesIsFound() {
    Random random = new Random(5);
    float[] levels = {0f, -0f, 1, -1, 2, -2, Float.MIN_VALUE, -Float.MIN_VALUE, Float.MAX_VALUE, -Float.MAX_VALUE};
    float[] values = new float[39];
    for (int round = 0; round < 20_000; round++) {
      // Few levels make ties frequent; with only the first two of them, every value is a zero.
      int most = 1 + random.nextInt(levels.length);
      for (int i = 0; i < values.length; i++) {
        values[i] = levels[random.nextInt(most)];
      }
      int from = random.nextInt(8);
      float farthest = 0;
      float least = Float.MAX_VALUE;
      float greatest = -Float.MAX_VALUE;
      for (int i = from; i < from + 32; i++) {
        farthest = Math.abs(values[i]) > Math.abs(farthest) ? values[i] : farthest;
        least = values[i] < least ? values[i] : least;
        greatest = values[i] > greatest ? values[i] : greatest;
      }
      assertSameBits(farthest, Extremes.farthest(values, from, 32));
      assertSameBits(Math.abs(farthest), Extremes.magnitude(values, from, 32));
      assertSameBits(least, Extremes.least(values, from, 32));
      assertSameBits(greatest, Extremes.greatest(values, from, 32));
    }
  }

  private static void assertSameBits(float expected, float actual) {
    assertEquals(Float.floatToRawIntBits(expected), Float.floatToRawIntBits(actual), () -> expected + " is not " + actual);
  }
}
