package io.portllm.io.write;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.io.Checkpoints;
import io.portllm.io.ExportOptions;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.adapter.AdapterExport;
import io.portllm.io.internal.gguf.GgufBytes;
import io.portllm.io.internal.gguf.ValueType;
import io.portllm.io.internal.patchfile.PatchContents;
import io.portllm.io.internal.write.CheckpointWriter;
import io.portllm.io.internal.write.Disk;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** One of each kind of output, small, with inputs on disk. */
final class Writers {
  /** Writes one output. */
  interface Writer {
    void write(Path target, WriteOptions options, Disk disk) throws IOException;
  }

  /**
   * A kind of output.
   *
   * @param name what it is called in a report
   * @param target the name of the output
   * @param writer writes it
   * @param older writes another of the same name, to be replaced
   * @param resumes whether a write that fails leaves what it finished to the next
   */
  record Kind(String name, String target, Writer writer, Writer older, boolean resumes) {
    Kind(String name, String target, Writer writer, Writer older) {
      this(name, target, writer, older, false);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  private Writers() {}

  /** All kinds; inputs are put into {@code inputs}. */
  static List<Kind> all(Path inputs) throws IOException {
    TestModel small = model("small", 1);
    small.saveTo(inputs.resolve("base"));
    model("tuned", 2).saveTo(inputs.resolve("tuned"));
    small.resharded(List.of("a.weight", "b.weight", "c.bias"), 3).saveTo(inputs.resolve("shards"));
    PatchFile.write(Patch.exact(model("tuned", 2), small), inputs.resolve("exact.patch.safetensors"));
    gguf(1).write(inputs.resolve("m.gguf"));
    gguf(2).write(inputs.resolve("n.gguf"));
    for (int part = 1; part <= 2; part++) {
      new GgufBytes()
          .entry("split.no", ValueType.U16, (short) (part - 1))
          .entry("split.tensors.count", ValueType.I32, 2)
          .entry("split.count", ValueType.U16, (short) 2)
          .tensor("t" + part, DType.Q4_0, 2, 32)
          .write(inputs.resolve("split").resolve("m-0000" + part + "-of-00002.gguf"));
    }
    return of(inputs);
  }

  /** All kinds, of inputs that are there. */
  static List<Kind> of(Path inputs) {
    TestModel small = model("small", 1);
    TestModel tuned = model("tuned", 2);
    TestModel sharded = model("sharded", 3).resharded(List.of("a.weight", "b.weight", "c.bias"), 2).side("sub/notes.txt", "text");
    Path base = inputs.resolve("base");
    Path fineTuned = inputs.resolve("tuned");
    Path shards = inputs.resolve("shards");
    Path exact = inputs.resolve("exact.patch.safetensors");
    Path gguf = inputs.resolve("m.gguf");
    Path otherGguf = inputs.resolve("n.gguf");
    Writer folder = copy(base);
    return List.of(
        new Kind("safetensors file", "out.safetensors", copy(base.resolve("model.safetensors")), copy(fineTuned.resolve("model.safetensors"))),
        new Kind("folder", "out", folder, (target, options, disk) -> CheckpointWriter.write(sharded, target, options, disk)),
        new Kind("sharded folder", "out", (target, options, disk) -> CheckpointWriter.write(sharded, target, options, disk), folder),
        new Kind("port", "out", (target, options, disk) -> port(fineTuned, base, target, options, disk), folder),
        new Kind(
            "resumed port",
            "out",
            (target, options, disk) -> port(fineTuned, shards, target, options.resuming("half", fineTuned, shards), disk),
            folder,
            true),
        new Kind("GGUF file", "out.gguf", copy(gguf), copy(otherGguf)),
        new Kind("split GGUF", "out", copy(inputs.resolve("split/m-00001-of-00002.gguf")), folder),
        new Kind("patch file", "p.patch.safetensors", patch(Patch.from(tuned, small)), patch(Patch.from(small, tuned))),
        new Kind("exact patch file", "p.patch.safetensors", patch(Patch.exact(tuned, small)), patch(Patch.from(small, tuned))),
        new Kind("undo", "out", (target, options, disk) -> undo(exact, fineTuned, target, options, disk), folder),
        new Kind("adapter", "adapter", Writers::adapter, folder));
  }

  private static TestModel model(String name, int seed) {
    return new TestModel(name)
        .config("model_type", "\"llama\"")
        .config("tie_word_embeddings", "false")
        .random("a.weight", DType.BF16, seed, 1, 6, 4)
        .random("b.weight", DType.F32, seed + 10, 1, 4, 6)
        .random("c.bias", DType.F32, seed + 20, 1, 4)
        .side("config.json", "{\"of\": \"" + name + "\"}");
  }

  private static GgufBytes gguf(int seed) {
    return new GgufBytes()
        .entry("general.architecture", ValueType.STRING, "llama")
        .tensor("w", DType.Q8_0, GgufBytes.random(68, seed), 2, 32)
        .tensor("v", DType.F32, GgufBytes.random(20, seed), 5);
  }

  private static Writer copy(Path model) {
    return (target, options, disk) -> {
      try (ModelVersion opened = Checkpoints.open(model)) {
        CheckpointWriter.write(opened, target, options, disk);
      }
    };
  }

  private static Writer patch(Patch patch) {
    return (target, options, disk) -> CheckpointWriter.write(PatchContents.of(patch, options), target, options.withoutRecord(), disk);
  }

  private static void port(Path tuned, Path base, Path target, WriteOptions options, Disk disk) throws IOException {
    try (ModelVersion newer = Checkpoints.open(tuned);
        ModelVersion older = Checkpoints.open(base)) {
      CheckpointWriter.write(Patch.from(newer, older).scaledBy(0.5).applyTo(older), target, options, disk);
    }
  }

  private static void undo(Path patch, Path model, Path target, WriteOptions options, Disk disk) throws IOException {
    try (PatchFile file = PatchFile.open(patch);
        ModelVersion patched = Checkpoints.open(model)) {
      CheckpointWriter.write(file.patch().inverse().applyTo(patched), target, options, disk);
    }
  }

  private static void adapter(Path target, WriteOptions options, Disk disk) throws IOException {
    TestModel factors = new TestModel("f").random("A", DType.F32, 5, 1, 2, 4).random("B", DType.F32, 6, 1, 6, 2);
    Map<String, Delta> deltas = new TreeMap<>();
    deltas.put(
        "model.layers.0.self_attn.q_proj.weight",
        new Delta.LowRank(factors.tensor("B").orElseThrow(), factors.tensor("A").orElseThrow(), 1, false, Shape.of(6, 4)));
    CheckpointWriter.write(AdapterExport.of(Patch.of(deltas, Optional.empty(), "r"), ExportOptions.defaults()), target, options.withoutRecord(), disk);
  }
}
