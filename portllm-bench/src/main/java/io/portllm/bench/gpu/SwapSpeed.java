package io.portllm.bench.gpu;

import io.portllm.DType;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.bench.generate.GenerateModel;
import io.portllm.cuda.Originals;
import io.portllm.cuda.ResidentModel;
import io.portllm.cuda.ResidentPatch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Locale;

/**
 * Milliseconds from one LoRA patch of rank 16 to another on a bf16 model in GPU memory, from the call to its return, and to take one
 * off. What a swap leaves is compared with a port on the processor, and what remains in the end with the model.
 *
 * <p>{@code SwapSpeed 1.1b 7b}; run by {@code tools/gpu.sh}
 */
public final class SwapSpeed {
  private static final MergeOptions OPTIONS = MergeOptions.defaults();
  private static final int RUNS = 41;
  private static final String[] CHECKED = {
    "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"
  };

  private SwapSpeed() {}

  private interface Work {
    void run() throws IOException;
  }

  /** Prints a line for each model and type of factors. */
  public static void main(String[] args) throws IOException {
    for (String weights : args) {
      long started = System.nanoTime();
      try (ModelVersion base = GenerateModel.model(weights, DType.BF16, 1);
          ResidentModel model = ResidentModel.load(base, Originals.KEPT)) {
        System.out.printf(
            Locale.ROOT, "%s: %.2f GB loaded in %.1f s, of which most is making random weights%n", weights, model.deviceBytes() / 1e9,
            seconds(started));
        for (DType factors : new DType[] {DType.F32, DType.BF16}) {
          swap(weights, factors, base, model);
        }
      }
    }
  }

  private static void swap(String weights, DType factors, ModelVersion base, ResidentModel model) throws IOException {
    Patch first = GenerateModel.adapter(weights, factors, 1);
    Patch second = GenerateModel.adapter(weights, factors, 2);
    long started = System.nanoTime();
    try (ResidentPatch one = model.prepare(first, OPTIONS); ResidentPatch other = model.prepare(second, OPTIONS)) {
      double prepared = seconds(started) / 2;
      model.apply(one);
      model.apply(other);
      double[] swaps = new double[RUNS];
      for (int i = 0; i < RUNS; i++) {
        ResidentPatch next = i % 2 == 0 ? one : other;
        swaps[i] = millis(() -> model.apply(next));
      }
      String same = same(first.applyTo(base), model.current()) ? "same bits as a port" : "DIFFERENT BITS";
      double[] undos = new double[RUNS];
      for (int i = 0; i < RUNS; i++) {
        model.apply(one);
        undos[i] = millis(model::undo);
      }
      String back = same(base, model.current()) ? "same bits as loaded" : "DIFFERENT BITS";
      Arrays.sort(swaps);
      Arrays.sort(undos);
      System.out.printf(
          Locale.ROOT,
          "%s, factors in %s: swap %.2f ms (fastest %.2f), %s; undo %.2f ms, %s; patch %.0f MB, prepared in %.2f s; %.2f GB in all%n",
          weights, factors, swaps[RUNS / 2], swaps[0], same, undos[RUNS / 2], back, one.deviceBytes() / 1e6, prepared,
          model.deviceBytes() / 1e9);
    }
  }

  private static boolean same(ModelVersion expected, ModelVersion found) throws IOException {
    boolean same = true;
    for (String name : CHECKED) {
      same &= bytes(expected, name).equals(bytes(found, name));
    }
    return same;
  }

  private static ByteBuffer bytes(ModelVersion model, String name) throws IOException {
    TensorInfo tensor = model.find(name).orElseThrow();
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    model.read(tensor, 0, bytes);
    return bytes.flip();
  }

  private static double millis(Work work) throws IOException {
    long started = System.nanoTime();
    work.run();
    return seconds(started) * 1e3;
  }

  private static double seconds(long started) {
    return (System.nanoTime() - started) / 1e9;
  }
}
