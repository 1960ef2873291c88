package io.portllm.extract;

/**
 * What became of the change of one tensor.
 *
 * @param tensor its name
 * @param form what the change is now
 * @param rank the rank of its factors, of a stack the greatest; 0 in the other forms
 * @param elements the number of weights of the tensor
 * @param stored the numbers that the change consists of now
 * @param norm the Frobenius norm ‖D‖ of the change; 0 for one that replaces weights, which has none
 * @param error the Frobenius norm ‖D − B·A‖ of what the factors miss, summed in float64 over every weight with the factors as they are
 *     stored; 0 in the other forms
 */
public record TensorExtract(String tensor, Form form, int rank, long elements, long stored, double norm, double error) {
  /** The forms of a change. */
  public enum Form {
    /** Zero, and left out of the patch: a matrix of rank 0. */
    UNCHANGED,
    /** Low-rank factors. */
    FACTORS,
    /** Only the rows that changed. */
    ROWS,
    /** As it was. */
    WHOLE
  }

  /** ‖D − B·A‖ / ‖D‖, or 0 where nothing changed. */
  public double relativeError() {
    return norm == 0 ? 0 : error / norm;
  }
}
