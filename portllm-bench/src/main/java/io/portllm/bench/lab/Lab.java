package io.portllm.bench.lab;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.portability.PortabilityTrial;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Stream;

/** The lab's folder: its models, patches, prompts and what was measured. Close it to close what was opened. */
final class Lab implements AutoCloseable {
  /** The models that patches are ported to, those of the old base's line first. */
  static final List<String> BASES = List.of("v1", "v2", "v3", "v4", "v2-lora", "v2-hot", "independent");

  /** What is made of v2 and v1 by reordering. */
  static final List<String> PERMUTED = List.of("v2 permuted", "v2, heads permuted", "v2, units permuted", "v1 permuted");

  static final List<String> PATCHES = List.of("climbs-lora", "summit-lora", "backward-lora", "revinc-lora", "climbs-full");

  private final Path folder;
  private final Optional<Path> more;
  private final JsonNode eval;
  private final JsonNode results;
  private final int prompts;
  private final Map<String, LabScoring> scorings = new HashMap<>();
  private final Map<String, ModelVersion> models = new LinkedHashMap<>();
  private final List<Closeable> adapters = new ArrayList<>();

  /**
   * Opens the lab.
   *
   * @param more a folder of further bases, which {@code tools/synthetic_drifts.py} makes
   * @param prompts how many prompts of each task to ask, at the most
   */
  Lab(Path folder, Optional<Path> more, int prompts) throws IOException {
    this.folder = folder;
    this.more = more;
    this.prompts = prompts;
    this.eval = new ObjectMapper().readTree(folder.resolve("eval.json").toFile());
    this.results = new ObjectMapper().readTree(folder.resolve("results.json").toFile());
  }

  /** The names of the tasks with prompts. */
  List<String> tasks() {
    List<String> names = new ArrayList<>();
    eval.fieldNames().forEachRemaining(names::add);
    return names;
  }

  /** The names of the further bases. */
  List<String> moreBases() throws IOException {
    if (more.isEmpty()) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(more.get())) {
      return folders.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** A model, by its folder's name or one of {@link #PERMUTED}. */
  ModelVersion model(String name) throws IOException {
    ModelVersion known = models.get(name);
    if (known == null) {
      known =
          switch (name) {
            case "v2 permuted" -> new PermutedModel(model("v2"), name, true, true);
            case "v2, heads permuted" -> new PermutedModel(model("v2"), name, true, false);
            case "v2, units permuted" -> new PermutedModel(model("v2"), name, false, true);
            case "v1 permuted" -> new PermutedModel(model("v1"), name, true, true);
            default -> Checkpoints.open((moreBases().contains(name) ? more.orElseThrow() : folder).resolve(name));
          };
      models.put(name, known);
    }
    return known;
  }

  /** A patch of v1. */
  Patch patch(String name) throws IOException {
    if (name.endsWith("-full")) {
      return Patch.from(model(name), model("v1"));
    }
    PeftAdapter adapter = PeftAdapter.open(folder.resolve(name));
    adapters.add(adapter::close);
    return Patch.from(adapter, model("v1"));
  }

  /** The prompts of a task. */
  LabScoring scoring(String task) {
    return scorings.computeIfAbsent(task, name -> LabScoring.of(eval, name, prompts));
  }

  /** Judges and tries a patch on a base. */
  LabCell cell(String patchName, Patch patch, String base) throws IOException {
    String task = patchName.replaceAll("-.*", "");
    String port = patchName.endsWith("-full") ? "port_full" : "port_lora";
    ModelVersion newBase = model(base);
    return new LabCell(
        patchName,
        base,
        measured(task, base, "zero_shot"),
        measured(task, base, port),
        measured(task, "v1", port),
        patch.checkAgainst(newBase),
        PortabilityTrial.with(scoring(task)).withOldBase(model("v1")).run(patch, newBase));
  }

  /** What {@code results.json} has of a task on a base, in percent. */
  OptionalDouble measured(String task, String base, String what) {
    for (JsonNode row : results.required("rows")) {
      if (row.required("task").textValue().equals(task) && row.required("base").textValue().equals(base)) {
        return OptionalDouble.of(row.required(what).doubleValue());
      }
    }
    return OptionalDouble.empty();
  }

  @Override
  public void close() throws IOException {
    for (Closeable adapter : adapters) {
      adapter.close();
    }
    for (ModelVersion model : models.values()) {
      model.close();
    }
  }
}
