package io.portllm.internal.merge;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import org.junit.jupiter.api.Test;

class SumsTest {
  private static final int COUNT = 1000;

  /** Zeros of both signs, subnormals, and numbers that cancel each other or do not. */
  private static float[][] values(int patches) {
    Random random = new Random(1);
    float[][] values = new float[patches][COUNT];
    for (float[] each : values) {
      for (int e = 0; e < COUNT; e++) {
        each[e] = switch (random.nextInt(6)) {
          case 0 -> 0f;
          case 1 -> -0f;
          case 2 -> Float.MIN_VALUE * (random.nextInt(5) - 2);
          case 3 -> random.nextInt(5) - 2;
          default -> (float) random.nextGaussian() * 1e-4f;
        };
      }
    }
    return values;
  }

  private static float expected(float[][] values, double[] votes, double[] weights, double[] shares, int e) {
    double elected = 0;
    for (int i = 0; i < votes.length; i++) {
      elected += votes[i] * values[i][e];
    }
    double sum = 0;
    double divisor = 0;
    for (int i = 0; i < votes.length; i++) {
      if ((elected < 0 ? -votes[i] : votes[i]) * values[i][e] > 0) {
        sum += weights[i] * values[i][e];
        divisor += shares[i];
      }
    }
    return (float) (divisor == 0 ? sum : sum / divisor);
  }

  private static void requireAgreement(double[] votes, double[] weights, double[] shares) {
    float[][] values = values(votes.length);
    float[] target = new float[COUNT + 3];
    Sums.agreeing(values, votes, weights, shares, COUNT, target, 3);
    for (int e = 0; e < COUNT; e++) {
      float expected = expected(values, votes, weights, shares, e);
      assertEquals(Float.floatToRawIntBits(expected), Float.floatToRawIntBits(target[3 + e]), "element " + e);
    }
  }

  @Test
  void onlyWhatAgreesWithTheElectedSignCounts() {
    requireAgreement(new double[] {1, 1, 1}, new double[] {1, 1, 1}, new double[3]);
    requireAgreement(new double[] {0.5, -1.3, 0.9, 0}, new double[] {0.5, -1.3, 0.9, 0}, new double[] {0.5, 1.3, 0.9, 0});
    requireAgreement(new double[] {1, 1, 1}, new double[] {0.3, -2, 1e-30}, new double[] {1, 1, 1});
    requireAgreement(new double[] {1}, new double[] {0.7}, new double[] {1e-300});
  }

  @Test
  void weightsWhoseProductsAreInfiniteLeaveTheOthersOfOtherSignsOut() {
    requireAgreement(new double[] {1e308, -1e308, 1}, new double[] {1e308, -1e308, 1}, new double[] {1e308, 1e308, 1});
  }

  @Test
  void allAreSummedInTheirOrder() {
    float[][] values = values(3);
    float[] target = new float[COUNT];
    Sums.all(values, new double[] {0.1, 7, -0.3}, COUNT, target, 0);
    for (int e = 0; e < COUNT; e++) {
      double sum = 0.0 + 0.1 * values[0][e] + 7.0 * values[1][e] + -0.3 * values[2][e];
      assertEquals(Float.floatToRawIntBits((float) sum), Float.floatToRawIntBits(target[e]), "element " + e);
    }
  }
}
