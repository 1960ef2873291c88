package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/**
 * The factors of LoRA on a stack of matrices, one for each expert. In A the experts come one after the other, each with all its ranks; in B the
 * ranks come one after the other, each with all experts.
 *
 * @param a (experts · rank) × in
 * @param b out × (rank · experts)
 */
record ExpertFactors(Tensor a, Tensor b, int experts, int rank) {
  long in() {
    return a.info().shape().columns();
  }

  long out() {
    return b.info().shape().rows();
  }

  /** The factor A of an expert, the columns from one to another: rank × columns. */
  Tensor a(int expert, long from, long to) {
    return ComputedTensor.of("lora_A", new PartOfA(this, expert, from, to));
  }

  /** The factor B of an expert, the rows from one to another: rows × rank. */
  Tensor b(int expert, long from, long to) {
    return ComputedTensor.of("lora_B", new PartOfB(this, expert, from, to));
  }

  private static final class PartOfA extends AdditiveChange {
    private final ExpertFactors factors;
    private final int expert;
    private final long from;

    PartOfA(ExpertFactors factors, int expert, long from, long to) {
      super(Shape.of(factors.rank, to - from), factors.a);
      this.factors = factors;
      this.expert = expert;
      this.from = from;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      float[] row = new float[columns()];
      for (int i = 0; i < rows; i++) {
        long stored = (long) expert * factors.rank + fromRow + i;
        Numbers.read(factors.a, stored * factors.in() + from, columns(), row);
        System.arraycopy(row, 0, target, i * columns(), columns());
      }
    }
  }

  private static final class PartOfB extends AdditiveChange {
    private final ExpertFactors factors;
    private final int expert;
    private final long from;

    PartOfB(ExpertFactors factors, int expert, long from, long to) {
      super(Shape.of(to - from, factors.rank), factors.b);
      this.factors = factors;
      this.expert = expert;
      this.from = from;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      float[] row = new float[factors.rank * factors.experts];
      for (int i = 0; i < rows; i++) {
        Numbers.read(factors.b, (from + fromRow + i) * row.length, row.length, row);
        for (int k = 0; k < factors.rank; k++) {
          target[i * factors.rank + k] = row[k * factors.experts + expert];
        }
      }
    }
  }
}
