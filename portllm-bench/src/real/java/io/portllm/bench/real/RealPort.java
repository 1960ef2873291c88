package io.portllm.bench.real;

import com.google.common.io.ByteStreams;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.SideFile;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PortabilityReports;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.json.FlatJson;
import io.portllm.io.internal.json.JsonException;
import io.portllm.portability.PortabilityPage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Verdict;
import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Ports a patch trained on bge-small-en to the release that followed it, bge-small-en-v1.5, and measures both releases with and
 * without it.
 *
 * <p>{@code mvn -B -ntp -q -pl portllm-bench -am -Preal -DskipTests verify} runs it. Both releases come as ONNX files from artifacts
 * on the class path; they are written as Hugging Face folders, and a JVM of its own with 256 MB of heap ports the patch. Every model
 * is then read back from its folder and run in ONNX Runtime, in the graph of bge-small-en, which both releases share. Ends with exit
 * code 1 and one line on standard error if a figure is not as expected.
 */
final class RealPort {
  private static final String OLD = "bge-small-en";
  private static final String NEW = "bge-small-en-v1.5";
  private static final double TOLERANCE = 0.3;
  private static final String PROBE = "mathematics based puzzle game";
  private static final double[] PROBE_EXPECTED = {-0.09348, -0.03462, 0.06417, -0.05663, -0.02723, 0.07400};
  private static final double PROBE_TOLERANCE = 1e-4;

  /** What the ONNX file's graph says of the model, as transformers wants it. */
  private static final String CONFIG =
      """
      {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0
      }
      """;

  private final Path work;
  private final Path adapter;
  private final Sections sections;
  private final List<String> failures = new ArrayList<>();

  private RealPort(Path work, Path adapter, Sections sections) {
    this.work = work;
    this.adapter = adapter;
    this.sections = sections;
  }

  /**
   * Runs everything.
   *
   * @param args a folder to work in, the adapter's folder and {@code sections.json}
   */
  public static void main(String[] args) throws Exception {
    List<String> failures;
    try {
      failures = new RealPort(Path.of(args[0]), Path.of(args[1]), Sections.read(Path.of(args[2]))).run();
    } catch (IOException e) {
      failures = List.of(e.toString());
    }
    if (!failures.isEmpty()) {
      System.err.println("Not as expected: " + String.join("; ", failures));
      System.exit(1);
    }
  }

  private List<String> run() throws IOException, InterruptedException {
    Files.createDirectories(work);
    Path graph = release(OLD);
    release(NEW);
    Cost portToOld = port(OLD);
    Cost portToNew = port(NEW);

    System.out.printf("%n| model | right, %% | expected |%n|---|---|---|%n");
    row(graph, OLD, OLD, 41.67);
    row(graph, OLD + " + patch", patched(OLD), 78.12);
    row(graph, NEW + ", no patch", NEW, 40.52);
    row(graph, NEW + " + the patch of " + OLD, patched(NEW), 78.23);

    System.out.printf(
        "%nThe port to %s took %s; to %s itself, %s. Each in a JVM of its own with -Xmx256m, its start included.%n",
        NEW, portToNew, OLD, portToOld);
    probe(graph);
    judge();
    return failures;
  }

  /** Judges the port without data: from the old release, and from what a patch file remembers of it. */
  private void judge() throws IOException {
    Path file = work.resolve("sections.patch.safetensors");
    try (ModelVersion old = Checkpoints.open(work.resolve(OLD));
        ModelVersion newBase = Checkpoints.open(work.resolve(NEW));
        PeftAdapter opened = PeftAdapter.open(adapter)) {
      Patch patch = Patch.from(opened, old);
      PatchFile.write(patch, file, WriteOptions.defaults().overwriting());
      PortabilityReport report = patch.checkAgainst(newBase);
      System.out.printf("%nThe port without data:%n%n%s%n", report);
      Files.writeString(work.resolve("report.json"), PortabilityReports.json(report));
      PortabilityPage page = PortabilityPage.of(report)
          .withOldFingerprint(Fingerprint.of(old).digest()).withNewFingerprint(Fingerprint.of(newBase).digest());
      Files.writeString(work.resolve("report.html"), page.html());
      require(report, "with " + OLD);
    }
    try (PatchFile patch = PatchFile.open(file); ModelVersion newBase = Checkpoints.open(work.resolve(NEW))) {
      PortabilityReport report = patch.patch().checkAgainst(newBase);
      System.out.printf("%nThe port without %s:%n%n%s%n", OLD, report);
      require(report, "without " + OLD);
    }
  }

  private void require(PortabilityReport report, String how) {
    if (report.verdict() != Verdict.PORT) {
      failures.add("the port is judged " + report.verdict() + " " + how + ", but recovers 0.96 of what tuning anew gives");
    }
  }

  private static String patched(String release) {
    return release + "-sections";
  }

  /** Takes a release out of its artifact and writes it as a Hugging Face folder. */
  private Path release(String name) throws IOException {
    Path onnx = work.resolve(name + ".onnx");
    try (InputStream resource = resource("/" + name + ".onnx")) {
      Files.copy(resource, onnx, StandardCopyOption.REPLACE_EXISTING);
    }
        try (InputStream tokenizer = resource("/" + name + "-tokenizer.json")) {
      byte[] config = CONFIG.getBytes(StandardCharsets.UTF_8);
      List<SideFile> sideFiles =
          List.of(
              new Held("config.json", config),
              new Held("tokenizer.json", ByteStreams.toByteArray(tokenizer)));
      try (ModelVersion checkpoint = new OnnxCheckpoint(OnnxFile.read(onnx), flat(config), sideFiles)) {
        Checkpoints.write(checkpoint, work.resolve(name), WriteOptions.defaults().overwriting());
      }
    }
    return onnx;
  }

  private static Map<String, String> flat(byte[] config) {
    try {
      return FlatJson.read(config);
    } catch (JsonException e) {
      throw new IllegalStateException("config.json: " + e.getMessage(), e);
    }
  }

  private static InputStream resource(String name) throws IOException {
    InputStream resource = RealPort.class.getResourceAsStream(name);
    if (resource == null) {
      throw new FileNotFoundException(name + " is not on the class path");
    }
    return resource;
  }

  /** Ports the patch to a release, in a JVM of its own. */
  private Cost port(String release) throws IOException, InterruptedException {
    List<String> command =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx256m",
            "-cp",
            System.getProperty("java.class.path"),
            PortMain.class.getName(),
            work.resolve(OLD).toString(),
            adapter.toString(),
            work.resolve(release).toString(),
            work.resolve(patched(release)).toString());
    long start = System.nanoTime();
    Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String peak = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    int exit = process.waitFor();
    if (exit != 0) {
      throw new IOException("the port to " + release + " ended with exit code " + exit);
    }
    return new Cost(Duration.ofNanos(System.nanoTime() - start), peak);
  }

  private void row(Path graph, String model, String folder, double expected) throws IOException {
    double right;
    try (ModelVersion checkpoint = Checkpoints.open(work.resolve(folder));
        BertEncoder encoder = BertEncoder.open(graph, checkpoint)) {
      right = sections.right(encoder, tokenizer(folder));
    }
    String shown = BigDecimal.valueOf(right).setScale(2, RoundingMode.HALF_EVEN).toString();
    System.out.printf(Locale.ROOT, "| %s | %s | %.2f |%n", model, shown, expected);
    if (Math.abs(right - expected) > TOLERANCE) {
      failures.add(String.format(Locale.ROOT, "%s is right in %s %%, more than %.1f from %.2f", model, shown, TOLERANCE, expected));
    }
  }

  private void probe(Path graph) throws IOException {
    float[] embedding;
    try (ModelVersion checkpoint = Checkpoints.open(work.resolve(patched(NEW)));
        BertEncoder encoder = BertEncoder.open(graph, checkpoint)) {
      embedding = Sections.embed(encoder, tokenizer(patched(NEW)), PROBE);
    }
    double[] found = new double[PROBE_EXPECTED.length];
    double distance = 0;
    for (int i = 0; i < found.length; i++) {
      found[i] = embedding[i];
      distance = Math.max(distance, Math.abs(found[i] - PROBE_EXPECTED[i]));
    }
    System.out.printf(
        "Embedding of \"%s\", first six numbers: %s; expected: %s.%n", PROBE, fixed(found), fixed(PROBE_EXPECTED));
    // Also false for NaN.
    if (!(distance <= PROBE_TOLERANCE)) {
      failures.add("the embedding is " + distance + " from the expected one, more than " + PROBE_TOLERANCE);
    }
  }

  private BertTokenizer tokenizer(String folder) throws IOException {
    try (InputStream json = Files.newInputStream(work.resolve(folder).resolve("tokenizer.json"))) {
      return BertTokenizer.read(json);
    }
  }

  private static String fixed(double[] numbers) {
    return String.join(", ", Arrays.stream(numbers).mapToObj(number -> String.format(Locale.ROOT, "%.5f", number)).toList());
  }

  /** What a port cost: wall time of the whole process, and the most memory it had resident. */
  private record Cost(Duration time, String peak) {
    @Override
    public String toString() {
      return String.format(Locale.ROOT, "%.1f s and %s of memory at its peak", time.toMillis() / 1000.0, peak);
    }
  }

  /** A side file held in memory. */
  private record Held(String name, byte[] bytes) implements SideFile {
    @Override
    public InputStream open() {
      return new ByteArrayInputStream(bytes);
    }
  }
}
