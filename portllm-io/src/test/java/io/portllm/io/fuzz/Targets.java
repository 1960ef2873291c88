package io.portllm.io.fuzz;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.GgufInfo;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * What is fuzzed: each takes any bytes, and returns if they are read or refused as documented. Whatever else is thrown is a finding.
 */
public final class Targets {
  /** One of them. */
  public interface Target {
    void accept(byte[] input) throws IOException;
  }

  /** Held, so that it stays silent: hostile files give a line in the log each. */
  private static final Logger LOG = Logger.getLogger("io.portllm.io.internal");

  private final Path dir;

  /** Targets that write their inputs to this folder. */
  public Targets(Path dir) {
    this.dir = dir;
    LOG.setLevel(Level.SEVERE);
  }

  /** In a new folder. */
  public static Targets inNewFolder() {
    try {
      return new Targets(Files.createTempDirectory("fuzz"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** All of them by the name of their corpus. */
  public Map<String, Target> all() {
    return Map.of(
        "safetensors", this::safetensors,
        "index", this::index,
        "gguf", this::gguf,
        "adapter", this::adapter,
        "patch", this::patch,
        "vocabulary", this::vocabulary);
  }

  private interface Use {
    void run() throws IOException;
  }

  /** Whether it was read; documented refusals are as good. */
  private static void documented(Use use) {
    try {
      use.run();
    } catch (IOException | IncompatibleModelException e) {
      if (e.getMessage() == null || e.getMessage().chars().anyMatch(Character::isISOControl)) {
        throw new AssertionError("a message that is not safe to print", e);
      }
    }
  }

  private static void open(Path path) throws IOException {
    try (ModelVersion model = Checkpoints.open(path)) {
      if (model.tensors().stream().mapToLong(tensor -> tensor.bytes()).sum() < 1 << 20) {
        Fingerprint.of(model);
      }
      GgufInfo.of(model);
    }
  }

  /** A whole file; one that begins with a zero is the header alone after that, with so many bytes of data as the second byte says. */
  public void safetensors(byte[] input) throws IOException {
    byte[] file = input;
    if (input.length > 2 && input[0] == 0) {
      int header = input.length - 2;
      file = ByteBuffer.allocate(8 + header + (input[1] & 0xff)).order(ByteOrder.LITTLE_ENDIAN).putLong(header).put(input, 2, header).array();
    }
    Path path = Files.write(dir.resolve("m.safetensors"), file);
    documented(() -> open(path));
  }

  /** The index of two files that are there. */
  public void index(byte[] input) throws IOException {
    Path folder = dir.resolve("index");
    if (!Files.isDirectory(folder)) {
      Files.createDirectory(folder);
      for (int i = 1; i <= 2; i++) {
        new TestModel("m").random("a" + i, DType.F32, i, 1, 2).saveFile(folder.resolve("model-0000" + i + "-of-00002.safetensors"));
      }
    }
    Files.write(folder.resolve("model.safetensors.index.json"), input);
    documented(() -> open(folder));
  }

  /** A whole file. */
  public void gguf(byte[] input) throws IOException {
    Path path = Files.write(dir.resolve("m.gguf"), input);
    documented(() -> open(path));
  }

  /** The configuration of an adapter whose factors are there. */
  public void adapter(byte[] input) throws IOException {
    Path folder = dir.resolve("adapter");
    String start = "base_model.model.model.layers.0.self_attn.q_proj.";
    if (!Files.isDirectory(folder)) {
      Files.createDirectory(folder);
      new TestModel("a")
          .random(start + "lora_A.weight", DType.F32, 1, 1, 4, 8)
          .random(start + "lora_B.weight", DType.F32, 2, 1, 8, 4)
          .saveFile(folder.resolve("adapter_model.safetensors"));
    }
    Files.write(folder.resolve("adapter_config.json"), input);
    TestModel base = new TestModel("b").random("model.layers.0.self_attn.q_proj.weight", DType.F32, 3, 1, 8, 8);
    documented(
        () -> {
          try (PeftAdapter adapter = PeftAdapter.open(folder)) {
            Fingerprint.of(Patch.from(adapter, base).applyTo(base));
          }
        });
  }

  /** The list of changes of a patch whose tensors are there. */
  public void patch(byte[] input) throws IOException {
    Map<String, String> metadata = new TreeMap<>();
    metadata.put("portllm.format", "patch");
    metadata.put("portllm.version", "1");
    metadata.put("portllm.recipe", "fuzz");
    metadata.put("portllm.deltas", new String(input, StandardCharsets.UTF_8));
    TestModel stored = new TestModel("p").shard("p.safetensors", metadata);
    String text = metadata.get("portllm.deltas");
    // Only what is named is stored, since what belongs to no change is refused.
    add(stored, text, "w", "delta", DType.F32, 4, 3);
    add(stored, text, "r", "delta", DType.F32, 2, 3);
    stored(stored, text, "r", "r.0.indices", DType.I64, TestModel.encode(DType.I64, 3, 0), 2);
    stored(stored, text, "r", "r.1.lora_A", DType.F32, new byte[24], 2, 3);
    stored(stored, text, "r", "r.1.lora_B", DType.F32, new byte[32], 4, 2);
    stored(stored, text, "q", "q.0.codes", DType.U8, new byte[16], 4, 4);
    stored(stored, text, "q", "q.0.scales", DType.F32, new byte[16], 4, 1);
    stored(stored, text, "s", "s.0.positions", DType.U8, new byte[] {1, 2}, 2);
    stored(stored, text, "s", "s.0.offsets", DType.I64, TestModel.encode(DType.I64, 0, 0, 2, 2), 2, 2);
    stored(stored, text, "s", "s.0.delta", DType.F32, new byte[8], 2);
    stored(stored, text, "e", "e.0.change", DType.U8, new byte[8], 8);
    stored(stored, text, "x", "x.0.weight", DType.F32, new byte[48], 4, 3);
    stored(stored, text, "y", "y.0.weight", DType.F32, new byte[12], 1, 3);
    stored(stored, text, "y", "y.0.indices", DType.I64, TestModel.encode(DType.I64, 2), 1);
    Path file;
    try {
      file = stored.saveFile(dir.resolve("p.safetensors"));
    } catch (IllegalArgumentException e) {
      // Half of a surrogate pair, which no header holds.
      return;
    }
    TestModel base = new TestModel("b").random("w", DType.F32, 1, 1, 4, 3).random("q", DType.F32, 2, 1, 4, 8).random("s", DType.F32, 3, 1, 4, 8);
    documented(
        () -> {
          try (PatchFile patch = PatchFile.open(file)) {
            Fingerprint.of(patch.patch().applyTo(base));
          }
        });
  }

  /** The tokenizer of a model. */
  public void vocabulary(byte[] input) throws IOException {
    Path folder = dir.resolve("vocabulary");
    if (!Files.isDirectory(folder)) {
      new TestModel("m").random("model.embed_tokens.weight", DType.F32, 1, 1, 4, 2).config("model_type", "\"llama\"").saveTo(folder);
    }
    Files.write(folder.resolve("tokenizer.json"), input);
    documented(
        () -> {
          try (ModelVersion model = Checkpoints.open(folder)) {
            model.vocabulary();
          }
        });
  }

  private static void add(TestModel stored, String text, String tensor, String part, DType type, long... shape) {
    long count = 1;
    for (long dimension : shape) {
      count *= dimension;
    }
    stored(stored, text, tensor, tensor + ".0." + part, type, new byte[(int) count * type.bytes()], shape);
  }

  private static void stored(TestModel stored, String text, String tensor, String name, DType type, byte[] bytes, long... shape) {
    if (text.contains("\"" + tensor + "\"")) {
      stored.tensor(name, type, bytes, shape);
    }
  }
}
