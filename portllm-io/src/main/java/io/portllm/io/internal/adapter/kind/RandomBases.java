package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.internal.adapter.TorchRandom;

/**
 * The random matrices of RandLoRA, made anew from their seed and divided by their standard deviation. B has as many elements as the largest
 * weight, and is held in memory whole, since torch's generator gives them in one order only.
 *
 * @param a rank × 1 × least
 * @param b most × bases × rank
 */
record RandomBases(Tensor a, Tensor b) {
  /**
   * Uniform numbers, in bfloat16: PEFT draws and divides them in it on a CPU and on GPUs that have it. Where it does not find it, it takes
   * float16, which gives other numbers; the adapter does not tell.
   */
  static RandomBases dense(long seed, int rank, long least, long most) {
    TorchRandom random = new TorchRandom(seed);
    float[] a = random.bfloat16Uniform(Math.toIntExact(rank * least), -bound(least), bound(least));
    int bases = Math.toIntExact((least + rank - 1) / rank);
    float[] b = new float[Math.toIntExact(Math.multiplyExact(most, (long) bases * rank))];
    for (int base = 0; base < bases; base++) {
      float[] drawn = random.bfloat16Uniform(Math.toIntExact(most * rank), -bound(rank), bound(rank));
      for (int row = 0; row < most; row++) {
        System.arraycopy(drawn, row * rank, b, (row * bases + base) * rank, rank);
      }
    }
    divideByDeviation(a, true);
    divideByDeviation(b, true);
    return of(a, b, rank, least, most);
  }

  /** Mostly zeros, with a one or minus one each time that a uniform number is among the extreme {@code 1 / sparsity}. */
  static RandomBases sparse(long seed, int rank, long least, long most, double sparsity) {
    TorchRandom random = new TorchRandom(seed);
    long bases = (least + rank - 1) / rank;
    float[] a = random.uniform(Math.toIntExact(rank * least), 0, 1);
    float[] b = random.uniform(Math.toIntExact(Math.multiplyExact(most, bases * rank)), 0, 1);
    makeSparse(a, sparsity);
    makeSparse(b, sparsity);
    divideByDeviation(a, false);
    divideByDeviation(b, false);
    return of(a, b, rank, least, most);
  }

  private static RandomBases of(float[] a, float[] b, int rank, long least, long most) {
    return new RandomBases(
        InMemory.of("randlora_A", Shape.of(rank, 1, least), a), InMemory.of("randlora_B", Shape.of(most, b.length / most / rank, rank), b));
  }

  /** torch's {@code kaiming_uniform_} with a = √5. */
  private static double bound(long fan) {
    return Math.sqrt(3.0) * (Math.sqrt(2.0 / 6) / Math.sqrt(fan));
  }

  private static void makeSparse(float[] values, double sparsity) {
    float low = (float) (1 / (2 * sparsity));
    float high = (float) (1 - 1 / (2 * sparsity));
    for (int i = 0; i < values.length; i++) {
      values[i] = values[i] < low ? -1 : values[i] > high ? 1 : 0;
    }
  }

  private static void divideByDeviation(float[] values, boolean inBfloat16) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    double mean = sum / values.length;
    double squares = 0;
    for (float value : values) {
      squares += (value - mean) * (value - mean);
    }
    float[] deviation = {(float) Math.sqrt(squares / (values.length - 1))};
    if (inBfloat16) {
      TorchRandom.roundToBfloat16(deviation);
    }
    for (int i = 0; i < values.length; i++) {
      values[i] /= deviation[0];
    }
    if (inBfloat16) {
      TorchRandom.roundToBfloat16(values);
    }
  }
}
