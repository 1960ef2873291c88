package io.portllm.cli.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The main job on bundled models: two patches of {@code v1} that teach it {@code climbs} are ported to each base, and what was
 * written is asked all prompts.
 */
final class Demo {
  private static final String OLD_BASE = "v1";
  private static final String ADAPTER = "climbs-lora";
  private static final String FULL = "climbs-full";
  private static final List<String> BASES = List.of("v1", "v2", "v3", "independent");

  private final DemoFolder folder;
  private final Consumer<String> progress;
  private final List<Prompt> prompts;
  private final JsonNode expected;

  /**
   * A demo.
   *
   * @param folder an empty folder, where models are unpacked and written
   * @param progress is told each step as it begins, in a few words
   */
  Demo(DemoFolder folder, Consumer<String> progress) throws IOException {
    this.folder = folder;
    this.progress = progress;
    this.prompts = Prompt.bundled();
    try (InputStream in = DemoFolder.resource("expected.json")) {
      this.expected = new ObjectMapper().readTree(in);
    }
  }

  /** The number of prompts that each model is asked. */
  int prompts() {
    return prompts.size();
  }

  /** Does everything; returns a row for each base. */
  List<DemoRow> run() throws IOException {
    progress.accept("unpacking the models");
    for (String base : BASES) {
      folder.unpackModel(base);
    }
    folder.unpackModel(FULL);
    folder.unpackAdapter(ADAPTER);
    folder.unpackPrompts();

    List<DemoRow> rows = new ArrayList<>();
    try (ModelVersion oldBase = Checkpoints.open(folder.of(OLD_BASE));
        PeftAdapter adapter = PeftAdapter.open(folder.of(ADAPTER));
        ModelVersion fineTuned = Checkpoints.open(folder.of(FULL))) {
      Patch lora = Patch.from(adapter, oldBase);
      Patch full = Patch.from(fineTuned, oldBase);
      for (String base : BASES) {
        rows.add(new DemoRow(
            base,
            new DemoRow.Figure(ask(folder.of(base)), expected(base, "zero_shot"), Optional.empty()),
            port(lora, ADAPTER, base, "port_lora"),
            port(full, FULL, base, "port_full")));
      }
    }
    return rows;
  }

  private DemoRow.Figure port(Patch patch, String patchName, String base, String measurement) throws IOException {
    Path output = folder.of(patchName + "-on-" + base);
    progress.accept("porting " + patchName + " to " + base);
    Duration elapsed;
    try (ModelVersion newBase = Checkpoints.open(folder.of(base))) {
      long start = System.nanoTime();
      Checkpoints.write(patch.applyTo(newBase), output);
      elapsed = Duration.ofNanos(System.nanoTime() - start);
    }
    return new DemoRow.Figure(ask(output), expected(base, measurement), Optional.of(elapsed));
  }

  /** The share of prompts that the model in {@code path} answers rightly, in percent. */
  private double ask(Path path) throws IOException {
    progress.accept("asking " + path.getFileName());
    try (ModelVersion model = Checkpoints.open(path)) {
      LlamaModel llama = LlamaModel.read(model);
      ByteLevelTokenizer tokenizer = ByteLevelTokenizer.of(model);
      long right = prompts.parallelStream().filter(prompt -> prompt.isAnsweredBy(llama, tokenizer)).count();
      return 100.0 * right / prompts.size();
    }
  }

  private double expected(String base, String measurement) {
    return expected.path(base).required(measurement).doubleValue();
  }
}
