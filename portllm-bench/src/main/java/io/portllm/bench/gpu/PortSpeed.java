package io.portllm.bench.gpu;

import io.portllm.FineTuned;
import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Seconds of a whole port of files by each merger, and whether the files are the same.
 *
 * <p>{@code PortSpeed BASE NEW-BASE FINE-TUNED ADAPTER OUTPUT-FOLDER}, all made by {@link io.portllm.bench.generate.GenerateModel}; run by
 * {@code tools/gpu.sh}
 */
public final class PortSpeed {
  private static final int RUNS = 3;

  private PortSpeed() {}

  /** Prints a line for each patch and merger. */
  public static void main(String[] args) throws IOException {
    Path output = Path.of(args[4]);
    try (ModelVersion base = Checkpoints.open(Path.of(args[0]));
        ModelVersion newBase = Checkpoints.open(Path.of(args[1]));
        ModelVersion tuned = Checkpoints.open(Path.of(args[2]));
        PeftAdapter adapter = PeftAdapter.open(Path.of(args[3]))) {
      port("full", tuned, base, newBase, output);
      port("LoRA", adapter, base, newBase, output);
    }
  }

  private static void port(String kind, FineTuned tuned, ModelVersion base, ModelVersion newBase, Path output) throws IOException {
    Path expected = null;
    for (Merger merger : new Merger[] {Merger.scalar(), Merger.fastest(), Merger.cuda()}) {
      MergeOptions options = MergeOptions.defaults().withMerger(merger);
      Path target = output.resolve(kind + "-" + merger.toString().replace(' ', '-'));
      double best = Double.MAX_VALUE;
      for (int i = 0; i < RUNS; i++) {
        long started = System.nanoTime();
        Checkpoints.write(Patch.from(tuned, base, options).applyTo(newBase, options), target, WriteOptions.defaults().overwriting());
        best = Math.min(best, (System.nanoTime() - started) / 1e9);
      }
      String same = expected == null || same(expected, target) ? "same files" : "DIFFERENT FILES";
      System.out.printf(Locale.ROOT, "port of a %s patch, %s: %.2f s, %s%n", kind, merger, best, same);
      expected = expected == null ? target : expected;
    }
  }

  private static boolean same(Path expected, Path found) throws IOException {
    return Files.mismatch(expected.resolve("model.safetensors"), found.resolve("model.safetensors")) < 0;
  }
}
