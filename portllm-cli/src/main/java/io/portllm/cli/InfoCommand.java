package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.BasePolicy;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.GgufInfo;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm info}. */
@Command(
    name = "info",
    description = "Says what a model, a patch file or an adapter is: its tensors and its fingerprint.",
    mixinStandardHelpOptions = true)
final class InfoCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "PATH", description = "A model folder, a .safetensors or .gguf file, a patch file or an adapter folder.")
  private Path path;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Option(names = "--no-fingerprint", description = "Do not read the weights to compute the fingerprint.")
  private boolean noFingerprint;

  @Override
  public Integer call() throws IOException {
    if (Files.isDirectory(path) && PeftAdapter.isAdapter(path)) {
      printAdapter();
    } else if (!Files.isDirectory(path) && PatchFile.isPatch(path)) {
      try (PatchFile file = PatchFile.open(path)) {
        print("patch", file.patch());
      }
    } else {
      try (ModelVersion model = Checkpoints.open(path)) {
        print(model);
      }
    }
    return 0;
  }

  private void printAdapter() throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(path)) {
      print("PEFT adapter", adapter.patch(MergeOptions.defaults().withBasePolicy(BasePolicy.EVALUATE_ANEW)));
    } catch (IncompatibleModelException e) {
      // Only its base tells what this adapter changes; what it stores can be told all the same.
      try (ModelVersion tensors = Checkpoints.open(path.resolve("adapter_model.safetensors"))) {
        print(tensors);
      }
    }
  }

  private void print(ModelVersion model) throws IOException {
    Optional<Fingerprint> fingerprint = noFingerprint ? Optional.empty() : Optional.of(Fingerprint.of(model));
    Optional<GgufInfo> gguf = GgufInfo.of(model);
    if (json) {
      ObjectNode root = new ObjectMapper().createObjectNode();
      root.put("path", path.toString());
      root.put("kind", "model");
      gguf.ifPresent(info -> describe(info, root.putObject("gguf")));
      ObjectNode counts = root.putObject("types");
      types(model).forEach(counts::put);
      fingerprint.ifPresent(print -> root.put("fingerprint", print.digest()));
      ArrayNode files = root.putArray("files");
      for (Shard shard : model.shards()) {
        ObjectNode file = files.addObject().put("name", shard.fileName());
        ObjectNode metadata = file.putObject("metadata");
        shard.metadata().forEach(metadata::put);
        ArrayNode tensors = file.putArray("tensors");
        for (TensorInfo tensor : shard.tensors()) {
          ObjectNode node = tensors.addObject().put("name", tensor.name()).put("dtype", tensor.dtype().name());
          ArrayNode shape = node.putArray("shape");
          LongStream.of(tensor.shape().toArray()).forEach(shape::add);
          fingerprint.ifPresent(print -> node.put("digest", print.tensors().get(tensor.name())));
        }
      }
      writeJson(root);
      return;
    }
    PrintWriter out = spec.commandLine().getOut();
    long bytes = model.tensors().stream().mapToLong(TensorInfo::bytes).sum();
    long weights = model.tensors().stream().mapToLong(TensorInfo::elements).sum();
    out.printf("model %s%n", path);
    gguf.ifPresent(info -> out.printf("GGUF version %d, aligned to %d bytes%n", info.version(), info.alignment()));
    gguf.flatMap(GgufInfo::architecture).or(() -> Optional.ofNullable(model.config().get("architectures.0")))
        .ifPresent(architecture -> out.printf("architecture %s%n", Names.plain(architecture)));
    out.printf("%,d weights in %d tensors and %d files, %s%n", weights, model.tensors().size(), model.shards().size(), Reports.size(bytes));
    String types =
        types(model).entrySet().stream()
            .map(entry -> entry.getKey() + " (" + entry.getValue() + " tensors)")
            .collect(Collectors.joining(", "));
    out.printf("types %s%n", types);
    fingerprint.ifPresent(print -> out.printf("fingerprint %s%n", print.digest()));
    gguf.ifPresent(info -> info.metadata().forEach((key, value) -> out.printf("  %s = %s%n", Names.plain(key), Names.plain(value))));
    for (TensorInfo tensor : model.tensors()) {
      out.printf("  %s %s %s%n", Names.plain(tensor.name()), tensor.dtype(), tensor.shape());
    }
    out.flush();
  }

  /** The number of tensors of each type, sorted by type. */
  private static Map<String, Long> types(ModelVersion model) {
    return model.tensors().stream().collect(Collectors.groupingBy(tensor -> tensor.dtype().name(), TreeMap::new, Collectors.counting()));
  }

  private static void describe(GgufInfo info, ObjectNode node) {
    node.put("version", info.version()).put("alignment", info.alignment());
    info.architecture().ifPresent(architecture -> node.put("architecture", architecture));
    ObjectNode metadata = node.putObject("metadata");
    info.metadata().forEach(metadata::put);
  }

  private void print(String kind, Patch patch) throws IOException {
    Optional<PatchBase> base = patch.base();
    if (json) {
      ObjectNode root = new ObjectMapper().createObjectNode();
      root.put("path", path.toString());
      root.put("kind", kind);
      root.put("recipe", patch.recipe());
      base.ifPresent(record -> root.putObject("base").put("name", record.name()).put("fingerprint", record.fingerprint().orElse(null)));
      ArrayNode changes = root.putArray("changes");
      for (Map.Entry<String, Delta> change : patch.deltas().entrySet()) {
        ObjectNode node = changes.addObject().put("tensor", change.getKey()).put("change", Names.kind(change.getValue()));
        ArrayNode shape = node.putArray("shape");
        LongStream.of(change.getValue().shape().toArray()).forEach(shape::add);
      }
      writeJson(root);
      return;
    }
    PrintWriter out = spec.commandLine().getOut();
    out.printf("%s %s%n", kind, path);
    out.printf("recipe %s%n", Names.plain(patch.recipe()));
    base.ifPresent(record -> out.printf("made on %s%s%n", Names.plain(record.name()), record.fingerprint().map(print -> ", fingerprint " + print).orElse("")));
    out.printf("changes %d tensors%n", patch.deltas().size());
    patch.deltas().forEach((name, delta) -> out.printf("  %s %s %s%n", Names.plain(name), Names.kind(delta), delta.shape()));
    out.flush();
  }

  private void writeJson(ObjectNode root) throws IOException {
    spec.commandLine().getOut().println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(root));
    spec.commandLine().getOut().flush();
  }
}
