package io.portllm.bench.generate;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Writes a Llama-shaped model of random weights, N(0, 0.02)-like, as a Hugging Face folder, and optionally a LoRA adapter for it.
 *
 * <p>{@code GenerateModel --weights 1.1b --dtype bf16 --shards 2 --seed 1 --perturb 2:0.1 -o DIR [--adapter DIR]}
 *
 * <p>{@code --perturb SEED:SCALE} adds SCALE times the weights of another seed, so that models of one {@code --seed} are related as
 * a base, its fine-tunes and its next releases are. The same options give the same bytes. Runs in a small heap: nothing is held.
 *
 * <p>{@code --gguf FILE --type q4_0} writes the same model as a GGUF file, with rows in the order of the checkpoint.
 */
public final class GenerateModel {
  private static final float DEVIATION = 0.02f;
  private static final int RANK = 16;

  private GenerateModel() {}

  /** A model that is stored nowhere, as the command would write it with {@code --weights} and {@code --seed}. */
  public static ModelVersion model(String weights, DType type, long seed) {
    return GeneratedModel.model(LlamaShape.named(weights), type, 1, List.of(new Noise(seed, DEVIATION)));
  }

  /**
   * A LoRA patch of rank 16 and scale 2 for all projections of such a model, stored nowhere.
   *
   * @param type the type of the factors, F32 or BF16
   */
  public static Patch adapter(String weights, DType type, long seed) {
    LlamaShape shape = LlamaShape.named(weights);
    ModelVersion factors = GeneratedModel.adapter(shape, RANK, type, new Noise(~seed, DEVIATION));
    Map<String, Delta> deltas = new TreeMap<>();
    for (TensorInfo tensor : shape.tensors(DType.BF16)) {
      String module = "base_model.model." + tensor.name().replaceFirst("\\.weight$", "");
      factors.tensor(module + ".lora_B.weight").ifPresent(b -> {
        Tensor a = factors.tensor(module + ".lora_A.weight").orElseThrow();
        deltas.put(tensor.name(), new Delta.LowRank(b, a, 2, false, tensor.shape()));
      });
    }
    return Patch.of(deltas, Optional.empty(), "adapter " + seed);
  }

  /** The command; see the class comment for its options. */
  public static void main(String[] args) throws IOException {
    try {
      generate(args);
    } catch (IllegalArgumentException e) {
      System.err.println("generate: " + e.getMessage());
      System.exit(2);
    }
  }

  private static void generate(String[] args) throws IOException {
    LlamaShape shape = LlamaShape.named("1.1b");
    DType type = DType.BF16;
    int shards = 1;
    long seed = 1;
    List<Noise> more = new ArrayList<>();
    Path output = null;
    Path adapter = null;
    Path gguf = null;
    DType ggufType = DType.BF16;
    for (int i = 0; i < args.length; i += 2) {
      if (i + 1 == args.length) {
        throw new IllegalArgumentException("no value for " + args[i]);
      }
      String value = args[i + 1];
      switch (args[i]) {
        case "--weights" -> shape = LlamaShape.named(value);
        case "--dtype" -> type = type(value);
        case "--shards" -> shards = Integer.parseInt(value);
        case "--seed" -> seed = Long.parseLong(value);
        case "--perturb" -> more.add(perturbation(value));
        case "--adapter" -> adapter = Path.of(value);
        case "--gguf" -> gguf = Path.of(value);
        case "--type" -> ggufType = type(value);
        case "-o" -> output = Path.of(value);
        default -> throw new IllegalArgumentException("unknown option " + args[i]);
      }
    }
    if (output == null && adapter == null && gguf == null) {
      throw new IllegalArgumentException("nothing to write: give -o DIR, --adapter DIR or --gguf FILE");
    }
    more.add(0, new Noise(seed, DEVIATION));
    if (output != null) {
      write(GeneratedModel.model(shape, type, shards, more), output);
    }
    if (gguf != null) {
      write(shape, GeneratedModel.model(shape, type, 1, more), ggufType, gguf);
    }
    if (adapter != null) {
      write(GeneratedModel.adapter(shape, RANK, DType.F32, new Noise(~seed, DEVIATION)), adapter);
    }
  }

  private static DType type(String name) {
    return DType.named(name.toUpperCase(Locale.ROOT)).orElseThrow(() -> new IllegalArgumentException("unknown type " + name));
  }

  private static void write(LlamaShape shape, GeneratedModel model, DType type, Path output) throws IOException {
    Map<String, String> sources =
        model.tensors().stream().collect(Collectors.toMap(tensor -> LlamaShape.ggufName(tensor.name()), TensorInfo::name));
    shape.gguf(type).write(output, (tensor, first, values) -> model.fill(sources.get(tensor.name()), first, values));
  }

  private static Noise perturbation(String text) {
    String[] parts = text.split(":", -1);
    if (parts.length != 2) {
      throw new IllegalArgumentException("--perturb must be SEED:SCALE but was " + text);
    }
    return new Noise(Long.parseLong(parts[0]), DEVIATION * Float.parseFloat(parts[1]));
  }

  private static void write(ModelVersion model, Path output) throws IOException {
    WriteReport report = Checkpoints.write(model, output);
    System.out.printf(
        Locale.ROOT, "%s: %d tensors, %d bytes, %.1f s%n", output, report.tensors(), report.bytes(), report.elapsed().toMillis() / 1e3);
  }
}
