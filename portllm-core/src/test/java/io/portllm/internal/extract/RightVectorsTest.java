package io.portllm.internal.extract;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RightVectorsTest {
  /** A diagonal between reflections, which are orthogonal; the right singular vectors are the second one's first rows. */
  private record Known(float[] matrix, double[][] right) {
    static Known of(int rows, int columns, double[] singular) {
      Random random = new Random(5);
      double[] left = random.doubles(rows, -1, 1).toArray();
      double[] turn = random.doubles(columns, -1, 1).toArray();
      double leftSquare = Arrays.stream(left).map(x -> x * x).sum();
      double turnSquare = Arrays.stream(turn).map(x -> x * x).sum();
      float[] matrix = new float[rows * columns];
      double[][] right = new double[singular.length][columns];
      for (int k = 0; k < singular.length; k++) {
        for (int j = 0; j < columns; j++) {
          right[k][j] = (j == k ? 1 : 0) - 2 * turn[j] * turn[k] / turnSquare;
        }
      }
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          double sum = 0;
          for (int k = 0; k < singular.length; k++) {
            sum += ((i == k ? 1 : 0) - 2 * left[i] * left[k] / leftSquare) * singular[k] * right[k][j];
          }
          matrix[i * columns + j] = (float) sum;
        }
      }
      return new Known(matrix, right);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "40, 40, 1", "40, 40, 17", "25, 60, 25", "60, 25, 25", "25, 60, 9", "60, 25, 9", "1, 7, 1", "7, 1, 1",
    "2, 2, 2", "3, 2, 1", "100, 100, 0"
  })
  void vectorsAreThoseOfTheGreatestValuesInTheirOrder(int rows, int columns, int count) {
    int least = Math.min(rows, columns);
    double[] singular = new double[least];
    Arrays.setAll(singular, k -> 10 - 9.0 * k / least);
    assertVectors(Known.of(rows, columns, singular), columns, count, 1e-4);
  }

  /** Values that squares cannot tell apart. */
  @ParameterizedTest
  @CsvSource({"30, 50", "50, 30", "30, 30"})
  void vectorsOfValuesFarBelowTheGreatestArePreciseToo(int rows, int columns) {
    float[] matrix = new float[rows * columns];
    for (int k = 0; k < 20; k++) {
      matrix[k * columns + (19 - k)] = (float) Math.pow(10, -k);
    }
    double[] found = RightVectors.greatest(matrix, columns, 13);
    for (int k = 0; k < 13; k++) {
      for (int j = 0; j < columns; j++) {
        assertEquals(j == 19 - k ? 1 : 0, Math.abs(found[k * columns + j]), 1e-12, "vector " + k + " at " + j);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"30, 50", "50, 30", "30, 30"})
  void vectorsOfValuesOfZeroAreZero(int rows, int columns) {
    Known known = Known.of(rows, columns, new double[] {3, 2, 1});
    double[] found = RightVectors.greatest(known.matrix(), columns, 5);
    assertVectors(known, columns, 3, 1e-5);
    double[] none = RightVectors.greatest(new float[rows * columns], columns, 5);
    assertEquals(0, Arrays.stream(none).map(Math::abs).sum());
    for (int k = 0; k < 5; k++) {
      double square = 0;
      for (int j = 0; j < columns; j++) {
        square += found[k * columns + j] * found[k * columns + j];
      }
      // What float32 rounds off is of full rank, and as good a direction as any.
      assertEquals(1, square, 1e-9);
    }
  }

  private static void assertVectors(Known known, int columns, int count, double tolerance) {
    double[] found = RightVectors.greatest(known.matrix(), columns, count);
    assertEquals(count * columns, found.length);
    for (int k = 0; k < count; k++) {
      double cosine = 0;
      for (int j = 0; j < columns; j++) {
        cosine += found[k * columns + j] * known.right()[k][j];
      }
      assertEquals(1, Math.abs(cosine), tolerance, "vector " + k);
    }
  }
}
