package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/**
 * OFT (arXiv 2306.07280): each row of the weight, cut into blocks, is multiplied by one rotation a block, {@code w' = R·w}, or by its transpose
 * for embeddings.
 *
 * <p>Holds all rotations of a weight in float32: columns × block size.
 */
final class BlockRotation extends WeightChange {
  /**
   * How stored elements become rotations.
   *
   * @param neumannTerms 0 for the Cayley transform {@code (I − Q)·(I + Q)⁻¹}; else how many terms of the series of its
   *     inverse, {@code (I + Q)·(I − Q)⁻¹}, are taken: the two turn in opposite directions
   * @param bound the largest norm of all of Q (constrained OFT), or infinity
   * @param transposed whether rows are multiplied by the transpose
   */
  record Form(int neumannTerms, double bound, boolean transposed) {}

  private final Tensor skews;
  private final int block;
  private final Form form;
  private final Kept kept;

  /**
   * The change by these rotations.
   *
   * @param shape the weight's shape
   * @param skews for each block, or once for all, the elements above the diagonal of a skew matrix Q, row by row
   * @param block the side of a block, a divisor of the weight's columns
   */
  BlockRotation(Shape shape, Tensor skews, int block, Form form, Kept kept) {
    super(shape, skews);
    this.skews = skews;
    this.block = block;
    this.form = form;
    this.kept = kept;
  }

  /** The side of a block that has {@code elements} elements above its diagonal, or -1 if there is none. */
  static int side(long elements) {
    long side = (1 + (long) Math.floor(Math.sqrt(1 + 8.0 * elements))) / 2;
    return side * (side - 1) / 2 == elements && side <= Short.MAX_VALUE ? (int) side : -1;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    float[] lessIdentity = kept.floats(this, "rotations", this::rotationsLessIdentity);
    double[] row = new double[block];
    for (int start = 0; start < rows * columns; start += block) {
      for (int i = 0; i < block; i++) {
        row[i] = values[start + i];
      }
      // One rotation may stand for all blocks.
      int matrix = lessIdentity.length == block * block ? 0 : start % columns * block;
      for (int i = 0; i < block; i++) {
        double sum = 0;
        for (int j = 0; j < block; j++) {
          sum += lessIdentity[matrix + i * block + j] * row[j];
        }
        values[start + i] = (float) sum;
      }
    }
  }

  private float[] rotationsLessIdentity() throws IOException {
    float[] stored = Numbers.all(skews);
    int count = Math.toIntExact(skews.info().shape().rows());
    int above = stored.length / count;
    float[] rotations = new float[Math.multiplyExact(count, block * block)];
    for (int number = 0; number < count; number++) {
      double[] rotation = rotationLessIdentity(skew(stored, number * above, form.bound() / Math.sqrt(count)));
      for (int i = 0; i < block; i++) {
        for (int j = 0; j < block; j++) {
          rotations[(number * block + i) * block + j] = (float) rotation[form.transposed() ? j * block + i : i * block + j];
        }
      }
    }
    return rotations;
  }

  private double[] skew(float[] stored, int start, double bound) {
    double[] skew = new double[block * block];
    double squares = 0;
    int at = start;
    for (int i = 0; i < block; i++) {
      for (int j = i + 1; j < block; j++) {
        squares += 2.0 * stored[at] * stored[at];
        skew[i * block + j] = stored[at];
        skew[j * block + i] = -stored[at];
        at++;
      }
    }
    double norm = Math.sqrt(squares);
    for (int i = 0; norm > bound && i < skew.length; i++) {
      skew[i] *= bound / norm;
    }
    return skew;
  }

  /** With n terms: {@code I + 2Q + 2Q² + … + 2Qⁿ⁻² + Qⁿ⁻¹}, of which PEFT takes the terms up to Q³ for n = 3 too. */
  private double[] rotationLessIdentity(double[] skew) {
    int terms = form.neumannTerms();
    if (terms == 0) {
      return Squares.cayleyLessIdentity(skew, block);
    }
    double[] sum = new double[block * block];
    if (terms > 1) {
      Squares.addMultiple(sum, 2, skew);
    }
    if (terms > 2) {
      double[] power = Squares.product(skew, skew, block);
      Squares.addMultiple(sum, 2, power);
      for (int exponent = 3; exponent < terms - 1; exponent++) {
        power = Squares.product(power, skew, block);
        Squares.addMultiple(sum, 2, power);
      }
      Squares.addMultiple(sum, 1, Squares.product(power, skew, block));
    }
    return sum;
  }
}
