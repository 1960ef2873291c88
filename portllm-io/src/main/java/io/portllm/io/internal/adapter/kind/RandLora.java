package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.Arrays;

/**
 * RandLoRA's change M, most × least, or its transpose. With n bases and rank r, {@code M[m, j] = scale · Σ_t B[m, t] · λ[k, b] · A[k, j] · γ[b, j]},
 * where t counts the bases of B before their ranks, t = base·r + rank, but the ranks of A before their bases, k = t / n and b = t % n: PEFT
 * flattens the two in these orders, and so pairs different bases.
 */
final class RandLora extends AdditiveChange {
  private final boolean rowsOfB;
  private final Tensor a;
  private final Tensor b;
  private final Tensor lambda;
  private final Tensor gamma;
  private final float scale;
  private final Kept kept;
  private final int rank;
  private final int bases;
  private final int least;

  /**
   * The change by these matrices.
   *
   * @param shape the weight's shape
   * @param rowsOfB whether the weight's rows are those of B; else they are the columns of A
   * @param a rank × 1 × at least {@code least}
   * @param b at least {@code most} × at least {@code bases} × rank
   * @param lambda rank × bases
   * @param gamma bases × least
   */
  RandLora(Shape shape, boolean rowsOfB, Tensor a, Tensor b, Tensor lambda, Tensor gamma, double scale, Kept kept) {
    super(shape, a, b, lambda, gamma);
    this.rowsOfB = rowsOfB;
    this.a = a;
    this.b = b;
    this.lambda = lambda;
    this.gamma = gamma;
    this.scale = (float) scale;
    this.kept = kept;
    this.rank = Math.toIntExact(lambda.info().shape().rows());
    this.bases = Math.toIntExact(gamma.info().shape().rows());
    this.least = Math.toIntExact(gamma.info().shape().columns());
  }

  @Override
  void compute(long fromRow, int rows, float[] target) throws IOException {
    float[] lambdas = Numbers.all(lambda);
    float[] gammas = kept.floats(gamma, "all", () -> Numbers.all(gamma));
    float[] as = kept.floats(a, least, this::leftOfA);
    if (rowsOfB) {
      for (int row = 0; row < rows; row++) {
        rowOfB(fromRow + row, lambdas, gammas, as, target, row * least);
      }
    } else {
      columnsOfA(fromRow, rows, lambdas, gammas, as, target);
    }
  }

  /** The first columns of A, as many as the weight needs. */
  private float[] leftOfA() throws IOException {
    float[] values = new float[rank * least];
    float[] row = new float[least];
    for (int k = 0; k < rank; k++) {
      Numbers.read(a, k * a.info().shape().dimension(2), least, row);
      System.arraycopy(row, 0, values, k * least, least);
    }
    return values;
  }

  private float[] rowOfB(long row) throws IOException {
    float[] values = new float[bases * rank];
    Numbers.read(b, row * b.info().shape().columns(), values.length, values);
    return values;
  }

  private void rowOfB(long row, float[] lambdas, float[] gammas, float[] as, float[] target, int at) throws IOException {
    float[] bs = rowOfB(row);
    float[] sum = new float[least];
    Arrays.fill(target, at, at + least, 0);
    for (int base = 0; base < bases; base++) {
      Arrays.fill(sum, 0);
      for (int k = 0; k < rank; k++) {
        int t = k * bases + base;
        float factor = bs[t] * lambdas[t];
        for (int j = 0, from = k * least; j < least; j++, from++) {
          sum[j] += factor * as[from];
        }
      }
      for (int j = 0, from = base * least; j < least; j++, from++) {
        target[at + j] += sum[j] * gammas[from];
      }
    }
    for (int j = 0; j < least; j++) {
      target[at + j] *= scale;
    }
  }

  /** Goes through all of B once for these rows. */
  private void columnsOfA(long fromRow, int rows, float[] lambdas, float[] gammas, float[] as, float[] target) throws IOException {
    int columns = columns();
    float[][] factors = new float[rows][bases * rank];
    for (int row = 0; row < rows; row++) {
      int j = Math.toIntExact(fromRow + row);
      for (int t = 0; t < bases * rank; t++) {
        factors[row][t] = lambdas[t] * as[t / bases * least + j] * gammas[t % bases * least + j];
      }
    }
    for (int column = 0; column < columns; column++) {
      float[] bs = rowOfB(column);
      for (int row = 0; row < rows; row++) {
        double sum = 0;
        for (int t = 0; t < bs.length; t++) {
          sum += bs[t] * factors[row][t];
        }
        target[row * columns + column] = (float) (sum * scale);
      }
    }
  }
}
