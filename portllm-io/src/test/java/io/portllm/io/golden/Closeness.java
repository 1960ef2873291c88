package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;

/**
 * How far weights are from those expected.
 *
 * @param byNorm the norm of the difference over the norm
 * @param byLargest the largest difference over the largest weight
 */
record Closeness(double byNorm, double byLargest) {
  static Closeness of(TensorInfo tensor, ByteBuffer expected, ByteBuffer found) {
    assertEquals(DType.F32, tensor.dtype());
    double squares = 0;
    double differenceSquares = 0;
    double largest = 0;
    double largestDifference = 0;
    for (int i = 0; i < tensor.elements(); i++) {
      double want = expected.getFloat(4 * i);
      double difference = Math.abs(found.getFloat(4 * i) - want);
      squares += want * want;
      differenceSquares += difference * difference;
      largest = Math.max(largest, Math.abs(want));
      largestDifference = Math.max(largestDifference, difference);
    }
    return new Closeness(Math.sqrt(differenceSquares / squares), largestDifference / largest);
  }

  /** Fails if either is more than {@code tolerance}, or not a number. */
  static void assertClose(TensorInfo tensor, ByteBuffer expected, ByteBuffer found, double tolerance) {
    Closeness closeness = of(tensor, expected, found);
    assertTrue(closeness.byNorm <= tolerance, () -> tensor.name() + " is " + closeness.byNorm + " of its norm away");
    assertTrue(closeness.byLargest <= tolerance, () -> tensor.name() + " is up to " + closeness.byLargest + " of its largest weight away");
  }
}
