package io.portllm.compress;

/**
 * What compression lost of a change. Sums of squares in float64 of changes in float32.
 *
 * @param squares the squared Frobenius norm of the change
 * @param lost the squared Frobenius norm of the change less its compressed form
 */
public record Loss(double squares, double lost) {
  /** The relative error ‖Δ − Δ̃‖ / ‖Δ‖; 0 for a change of zero. */
  public double relativeError() {
    return squares == 0 ? 0 : Math.sqrt(lost / squares);
  }

  /** Both together. */
  public Loss plus(Loss other) {
    return new Loss(squares + other.squares, lost + other.lost);
  }
}
