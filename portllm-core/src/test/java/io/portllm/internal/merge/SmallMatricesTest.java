package io.portllm.internal.merge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SmallMatricesTest {
  private static double[][] random(int rows, int columns, long seed) {
    Random random = new Random(seed);
    double[][] matrix = new double[columns][rows];
    for (double[] column : matrix) {
      for (int i = 0; i < rows; i++) {
        column[i] = random.nextGaussian();
      }
    }
    return matrix;
  }

  private static void assertEqual(double[][] expected, double[][] actual, double tolerance) {
    assertEquals(expected.length, actual.length);
    for (int j = 0; j < expected.length; j++) {
      for (int i = 0; i < expected[j].length; i++) {
        assertEquals(expected[j][i], actual[j][i], tolerance, i + ", " + j);
      }
    }
  }

  private static void assertOrthonormal(double[][] columns) {
    for (int i = 0; i < columns.length; i++) {
      for (int j = 0; j < columns.length; j++) {
        assertEquals(i == j ? 1 : 0, SmallMatrices.dot(columns[i], columns[j]), 1e-13);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "5, 3", "64, 16", "300, 40"})
  void qrIsTheMatrixAndQIsOrthonormal(int rows, int columns) {
    double[][] matrix = random(rows, columns, 1);
    SmallMatrices.Qr qr = SmallMatrices.Qr.of(matrix);
    assertOrthonormal(qr.q());
    assertEqual(matrix, SmallMatrices.product(qr.q(), qr.r()), 1e-13);
  }

  @Test
  void qrOfNearlyDependentColumnsIsOrthonormal() {
    double[][] matrix = random(50, 4, 2);
    for (int i = 0; i < 50; i++) {
      matrix[3][i] = matrix[0][i] + 1e-9 * matrix[3][i];
    }
    assertOrthonormal(SmallMatrices.Qr.of(matrix).q());
  }

  @ParameterizedTest
  @CsvSource({"1", "2", "9", "40"})
  void svdIsTheMatrixWithValuesInOrder(int size) {
    double[][] matrix = random(size, size, 3);
    SmallMatrices.Svd svd = SmallMatrices.Svd.of(matrix);
    assertOrthonormal(svd.u());
    assertOrthonormal(svd.v());
    double[][] scaled = new double[size][];
    for (int j = 0; j < size; j++) {
      double value = svd.values()[j];
      assertTrue(j == 0 || value <= svd.values()[j - 1]);
      scaled[j] = Arrays.stream(svd.u()[j]).map(x -> x * value).toArray();
    }
    assertEqual(matrix, SmallMatrices.product(scaled, SmallMatrices.transpose(svd.v(), size)), 1e-12);
  }

  @Test
  void rankCountsWhatIsMoreThanRounding() {
    double[][] low = SmallMatrices.product(random(8, 3, 4), random(3, 8, 5));
    assertEquals(3, SmallMatrices.Svd.of(low).rank());
    assertEquals(0, SmallMatrices.Svd.of(new double[4][4]).rank());
    assertEquals(8, SmallMatrices.Svd.of(random(8, 8, 6)).rank());
  }
}
