package io.portllm.internal.portability;

import static io.portllm.portability.TensorSketch.SIDE;
import static io.portllm.portability.TensorSketch.WEIGHTS;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.Shape;
import io.portllm.internal.extract.JacobiSvd;
import io.portllm.portability.TensorSketch;

/** Estimates from sketches. */
final class Sketches {
  /** Singular values that count as the leading ones of an update: as many as the rank of a common adapter. */
  private static final int LEADING = 8;

  /** Beyond this many columns a matrix is taken as a vector, so that the memory for its sketch stays small. */
  private static final int MOST_COLUMNS = 1 << 17;

  private static final double SAME_DIRECTION = 1 - 1e-6;

  private Sketches() {}

  /** Whether tensors of this shape are sketched as a matrix. */
  static boolean isMatrix(Shape shape) {
    return shape.rank() >= 2 && shape.rows() > 1 && shape.columns() > 1 && shape.columns() <= MOST_COLUMNS;
  }

  static double squares(ImmutableDoubleArray values) {
    return dot(values, values);
  }

  static double dot(ImmutableDoubleArray one, ImmutableDoubleArray other) {
    double sum = 0;
    for (int i = 0; i < one.length(); i++) {
      sum += one.get(i) * other.get(i);
    }
    return sum;
  }

  static ImmutableDoubleArray difference(ImmutableDoubleArray one, ImmutableDoubleArray other) {
    double[] difference = new double[one.length()];
    for (int i = 0; i < difference.length; i++) {
      difference[i] = one.get(i) - other.get(i);
    }
    return ImmutableDoubleArray.copyOf(difference);
  }

  /** How many times the change of {@code one} the change of {@code other} is, or NaN if the two are of different patches. */
  static double ratioOfChanges(TensorSketch one, TensorSketch other) {
    if (!one.hasProducts() || !other.hasProducts()) {
      return Double.NaN;
    }
    double product = dot(one.signature(), other.signature());
    double squares = squares(one.signature());
    double norms = Math.sqrt(squares * squares(other.signature()));
    return norms > 0 && Math.abs(product) >= SAME_DIRECTION * norms ? product / squares : Double.NaN;
  }

  /** The part of an update's energy that its sketch has outside the eight leading directions. */
  static double spread(ImmutableDoubleArray update, Shape shape) {
    if (!isMatrix(shape) || Math.min(shape.rows(), shape.columns()) < SIDE) {
      return 1;
    }
    double[] values = new double[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) {
      values[i] = update.get(i);
    }
    double[] singular = JacobiSvd.of(values, SIDE, SIDE).values();
    double all = 0;
    double rest = 0;
    for (int k = 0; k < singular.length; k++) {
      double energy = singular[k] * singular[k];
      all += energy;
      rest += k < LEADING ? 0 : energy;
    }
    return all == 0 ? 0 : rest / all;
  }
}
