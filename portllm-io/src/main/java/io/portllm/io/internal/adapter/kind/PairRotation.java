package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/**
 * RoAd (arXiv 2409.00119): output i of the first half of a group is rotated with output i of the second half, and scaled. Changes the weight and
 * the bias alike.
 */
final class PairRotation extends WeightChange {
  /** How angles and scales are shared. */
  enum Variant {
    /** One of each for both outputs of a pair. */
    ROAD_1,
    /** One of each for an output. */
    ROAD_2,
    /** Two of each for an output: one for its own value, one for its partner's. */
    ROAD_4;

    /** How many angles {@code outputs} outputs have. */
    long angles(long outputs) {
      return this == ROAD_1 ? outputs / 2 : this == ROAD_2 ? outputs : 2 * outputs;
    }
  }

  private final Variant variant;
  private final int group;
  private final Tensor angles;
  private final Tensor scales;
  private final Kept kept;

  /**
   * The change by these angles.
   *
   * @param shape the weight's shape, or the bias's; the rows are a multiple of {@code group}
   * @param group outputs in a group, an even number
   * @param angles in radians
   * @param scales as many as angles
   */
  PairRotation(Shape shape, Variant variant, int group, Tensor angles, Tensor scales, Kept kept) {
    super(shape, angles, scales);
    this.variant = variant;
    this.group = group;
    this.angles = angles;
    this.scales = scales;
    this.kept = kept;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    int half = group / 2;
    double[] coefficients = kept.doubles(this, "coefficients", this::coefficients);
    float[] partners = new float[Math.multiplyExact(Math.min(half, rows), columns)];
    int done = 0;
    while (done < rows) {
      // Rows up to the end of a half have their partners side by side in the other half.
      long first = fromRow + done;
      int inHalf = (int) (first % half);
      int count = Math.min(half - inHalf, rows - done);
      boolean secondHalf = first % group >= half;
      Numbers.read(weights, (secondHalf ? first - half : first + half) * columns, count * columns, partners);
      for (int r = 0; r < count; r++) {
        int at = 2 * Math.toIntExact(first + r);
        double own = coefficients[at] - 1;
        double other = secondHalf ? coefficients[at + 1] : -coefficients[at + 1];
        int start = (done + r) * columns;
        for (int i = 0; i < columns; i++) {
          values[start + i] = (float) (own * values[start + i] + other * partners[r * columns + i]);
        }
      }
      done += count;
    }
  }

  /** For each output, what its own value is multiplied by, and what its partner's is. */
  private double[] coefficients() throws IOException {
    float[] angle = Numbers.all(angles);
    float[] scale = Numbers.all(scales);
    int outputs = Math.toIntExact(shape().rows());
    double[] coefficients = new double[2 * outputs];
    for (int output = 0; output < outputs; output++) {
      int inGroup = output % group;
      int start = output - inGroup;
      int own =
          switch (variant) {
            case ROAD_1 -> start / 2 + inGroup % (group / 2);
            case ROAD_2 -> output;
            case ROAD_4 -> 2 * start + inGroup;
          };
      int other = variant == Variant.ROAD_4 ? own + group : own;
      coefficients[2 * output] = scale[own] * Math.cos(angle[own]);
      coefficients[2 * output + 1] = scale[other] * Math.sin(angle[other]);
    }
    return coefficients;
  }
}
