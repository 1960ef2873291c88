package io.portllm.bench.kernel;

import com.sun.management.OperatingSystemMXBean;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.compress.Compression;
import io.portllm.compress.Compressor;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.merge.MergeMethod;
import io.portllm.merge.Merging;
import io.portllm.portability.PortabilityCheck;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * What one core extracts, compresses, compares and merges a second, over models in memory, and a copy of memory in the same run. Times are
 * those of the process's processors, the least of several rounds, so that other work on the machine counts little; files go to a folder that
 * should lie in memory.
 *
 * <p>Run: {@code MAIN=io.portllm.bench.kernel.ExtractionTable tools/kernels.sh [-d FOLDER] [NAME...]}, with names of rows to choose some.
 */
public final class ExtractionTable {
  private static final int TENSORS = 6;
  private static final int ROWS = 2048;
  private static final int COLUMNS = 2560;
  private static final int ROUNDS = 5;
  /** The clock of processor time ticks every 10 ms. */
  private static final int COPIES = 50;
  private static final DType DTYPE = DType.BF16;
  private static final double DEVIATION = 0.02;
  private static final double CHANGE = 3e-4;
  private static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private final MemoryModel base = model("base", 1, 0, 0);
  private final MemoryModel newBase = model("new-base", 1, 1e-3, 9);
  private final List<Patch> patches = List.of(patch(2), patch(3), patch(4));
  private final Path file;
  private final List<String> chosen;

  private ExtractionTable(Path folder, List<String> chosen) {
    this.file = folder.resolve("extraction-" + ProcessHandle.current().pid() + ".patch.safetensors");
    this.chosen = chosen;
  }

  /** Prints the table. */
  public static void main(String[] args) throws IOException {
    boolean hasFolder = args.length > 1 && args[0].equals("-d");
    Path memory = Path.of("/dev/shm");
    Path folder = hasFolder ? Path.of(args[1]) : Files.isWritable(memory) ? memory : Path.of(System.getProperty("java.io.tmpdir"));
    new ExtractionTable(folder, Arrays.asList(args).subList(hasFolder ? 2 : 0, args.length)).print();
  }

  private interface Work {
    void run() throws IOException;
  }

  private static MemoryModel model(String name, long seed, double change, long changeSeed) {
    MemoryModel model = new MemoryModel(name);
    for (int i = 0; i < TENSORS; i++) {
      TensorInfo info = new TensorInfo("model.layers." + i + ".mlp.up_proj.weight", DTYPE, Shape.of(ROWS, COLUMNS));
      model.add(info, Weights.moved(DTYPE, ROWS * COLUMNS, DEVIATION, seed + 100 * i, change, changeSeed + 100 * i));
    }
    return model;
  }

  private Patch patch(long seed) {
    return Patch.from(model("fine-tuned-" + seed, 1, CHANGE, seed), base);
  }

  private static long bytes(ModelVersion model) {
    return model.tensors().stream().mapToLong(TensorInfo::bytes).sum();
  }

  private void print() throws IOException {
    System.out.printf(
        Locale.ROOT,
        "JDK %s; load of the last minute before this run %.1f; %,d bf16 weights; one thread; processor time, the least of %d.%n%n",
        Runtime.version(),
        SYSTEM.getSystemLoadAverage(),
        weights(),
        ROUNDS);
    System.out.println("| | million weights/s | read, GB/s | of what a copy reads |");
    System.out.println("|---|---|---|---|");
    ByteBuffer source = Weights.buffer(DTYPE, (int) weights());
    ByteBuffer target = Weights.buffer(DTYPE, (int) weights());
    double copy = seconds(() -> {
      for (int i = 0; i < COPIES; i++) {
        target.put(0, source, 0, source.capacity());
      }
    }) / COPIES;
    row("memory copy", copy, 1, copy);
    row("fingerprint", 1, () -> Fingerprint.of(base), copy);
    row("diff", 2, () -> write(patches.get(0)), copy);
    Patch exact = Patch.exact(patchedModel(), base);
    row("diff --exact", 2, () -> write(exact), copy);
    row("diff --density 0.1", 2, () -> write(compressed(Compression.Density.of(0.1))), copy);
    row("diff --bits 4", 2, () -> write(compressed(Compression.Bits.of(4))), copy);
    row("diff --bits 1", 2, () -> write(compressed(Compression.Bits.of(1))), copy);
    row("diff --rank 16", 2, () -> write(lowRank()), copy);
    row("check", 3, () -> PortabilityCheck.defaults().withThreads(1).withOldBase(base).check(patches.get(0), newBase), copy);
    row("merge --method linear of 3", 4, () -> write(Merging.merge(patches, new MergeMethod.Linear())), copy);
    row("merge --method ties of 3", 4, () -> write(Merging.merge(patches, new MergeMethod.Ties(0.2))), copy);
    row("merge --method dare of 3", 4, () -> write(Merging.merge(patches, new MergeMethod.Dare(0.2, 1))), copy);
    Files.deleteIfExists(file);
  }

  private ModelVersion patchedModel() {
    return patches.get(0).applyTo(base);
  }

  private Patch compressed(Compression compression) throws IOException {
    return Compressor.of(compression).withExecutor(Runnable::run).compress(patches.get(0)).patch();
  }

  private Patch lowRank() throws IOException {
    return LowRankExtraction.by(RankRule.rank(16)).withThreads(1).of(patches.get(0)).patch();
  }

  private void write(Patch patch) throws IOException {
    PatchFile.write(patch, file, WriteOptions.defaults().withThreads(1).overwriting());
  }

  private static long weights() {
    return (long) TENSORS * ROWS * COLUMNS;
  }

  private static double seconds(Work work) throws IOException {
    double least = Double.MAX_VALUE;
    for (int round = 0; round <= ROUNDS; round++) {
      long start = SYSTEM.getProcessCpuTime();
      work.run();
      least = Math.min(least, (SYSTEM.getProcessCpuTime() - start) / 1e9);
    }
    return least;
  }

  /** {@code models}: how many are read. */
  private void row(String name, int models, Work work, double copy) throws IOException {
    if (chosen.isEmpty() || chosen.contains(name)) {
      row(name, seconds(work), models, copy);
    }
  }

  private void row(String name, double seconds, int models, double copy) {
    double rate = models * bytes(base) / seconds / 1e9;
    double copied = bytes(base) / copy / 1e9;
    System.out.printf(
        Locale.ROOT, "| %s | %,.0f | %.2f | %.1f %% |%n", name, weights() / seconds / 1e6, rate, 100 * rate / copied);
  }
}
