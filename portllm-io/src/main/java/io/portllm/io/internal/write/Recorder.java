package io.portllm.io.internal.write;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.NewGguf;
import io.portllm.io.internal.record.Digests;
import io.portllm.io.internal.record.OutputRecord;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/** Makes the record of an output: opens what was written as any model is opened, and reads it all. */
final class Recorder {
  private final ModelVersion model;
  private final List<DerivedModel> steps = new ArrayList<>();
  private final ModelVersion origin;
  private final ObjectMapper json = new ObjectMapper();

  Recorder(ModelVersion model) {
    this.model = model;
    ModelVersion at = model;
    while (at instanceof DerivedModel derived) {
      steps.add(0, derived);
      at = derived.newBase();
    }
    this.origin = at;
  }

  /** The version of this program. */
  static String version() {
    String version = Recorder.class.getPackage().getImplementationVersion();
    return version == null ? "unpackaged" : version;
  }

  /**
   * The record's bytes.
   *
   * @param written what was written, perhaps not yet in its place
   * @param target where it will be
   * @param inputs the files that were read
   */
  byte[] record(Path written, Path target, List<StoredModel> inputs, WriteOptions options) throws IOException {
    String name = target.getFileName().toString();
    Map<String, String> digests = new ConcurrentHashMap<>();
    Map<String, String> before = new ConcurrentHashMap<>();
    Map<ModelVersion, Map<String, String>> others = new IdentityHashMap<>();
    Digests work = new Digests().files(written, name);
    try (ModelVersion output = open(written)) {
      work.tensors(output, output.tensors(), digests);
      work.tensors(origin, origin.tensors().stream().filter(tensor -> !isKept(tensor)).toList(), before);
      for (StoredModel input : inputs) {
        if (input != origin && seal(input).isEmpty() && !others.containsKey(input)) {
          others.put(input, new ConcurrentHashMap<>());
          work.tensors(input, input.tensors(), others.get(input));
        }
      }
      work.run(options);
      origin.tensors().stream().filter(this::isKept).forEach(tensor -> before.put(tensor.name(), digests.get(tensor.name())));
      Map<ModelVersion, String> fingerprints = new IdentityHashMap<>();
      others.forEach((input, found) -> fingerprints.put(input, Fingerprint.of(found).digest()));
      fingerprints.put(origin, Fingerprint.of(before).digest());
      ObjectNode made = made(inputs, fingerprints);
      return OutputRecord.of(made, output.tensors(), digests, work.ofFiles()).encode(name);
    }
  }

  private ModelVersion open(Path written) throws IOException {
    if (origin instanceof GgufModel || origin instanceof NewGguf) {
      return Files.isDirectory(written) ? GgufModel.openFolder(written) : GgufModel.openFile(written);
    }
    return Files.isDirectory(written) ? SafetensorsModel.openFolder(written) : SafetensorsModel.openFile(written);
  }

  /** Whether the output has this tensor of the new base as it is. */
  private boolean isKept(TensorInfo tensor) {
    return steps.stream().noneMatch(step -> step.changes(tensor.name())) && model.find(tensor.name()).filter(tensor::equals).isPresent();
  }

  /** What the seal of a patch file says; a model has none. */
  private static Optional<String> seal(StoredModel input) {
    return input.shards().stream().flatMap(shard -> Optional.ofNullable(shard.metadata().get("portllm.digest")).stream()).findFirst();
  }

  private ObjectNode made(List<StoredModel> inputs, Map<ModelVersion, String> fingerprints) {
    ObjectNode node = json.createObjectNode().put("portllm", version());
    node.putObject("onto").put("name", Names.last(origin.name())).put("fingerprint", fingerprints.get(origin));
    ArrayNode patches = node.putArray("patches");
    steps.forEach(step -> step.patch().ifPresent(patch -> describe(patch, fingerprints, patches.addObject())));
    Map<String, ObjectNode> sorted = new TreeMap<>();
    for (StoredModel input : inputs) {
      ObjectNode entry = json.createObjectNode().put("name", Names.last(input.name()));
      seal(input).ifPresentOrElse(digest -> entry.put("patch", digest), () -> entry.put("fingerprint", fingerprints.get(input)));
      sorted.put(entry.toString(), entry);
    }
    node.putArray("inputs").addAll(sorted.values());
    return node;
  }

  private static void describe(Patch patch, Map<ModelVersion, String> fingerprints, ObjectNode node) {
    node.put("recipe", patch.recipe()).put("exact", patch.isExact()).put("tensors", patch.deltas().size());
    if (patch.base().isPresent()) {
      PatchBase base = patch.base().get();
      ObjectNode entry = node.putObject("base").put("name", base.name());
      base.fingerprint().or(() -> base.model().map(fingerprints::get)).ifPresent(digest -> entry.put("fingerprint", digest));
    }
  }
}
