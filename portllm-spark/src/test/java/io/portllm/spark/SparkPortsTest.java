package io.portllm.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.spark.internal.hadoop.HadoopOutput;
import io.portllm.spark.internal.job.Arguments;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ports on Spark's local mode, against those of one process. Attempts are made to fail, and are run again. */
class SparkPortsTest {
  private static final int LAYERS = 5;
  private static final int SHARDS = 4;

  private static JavaSparkContext context;

  @TempDir Path dir;
  private Path base;
  private Path tuned;
  private Path newer;

  @BeforeAll
  static void start() {
    SparkConf conf = new SparkConf()
        .setAppName("test")
        .setMaster("local[2, 4]")
        .set("spark.ui.enabled", "false")
        .set("spark.driver.host", "127.0.0.1")
        .set("spark.driver.bindAddress", "127.0.0.1")
        .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .set("spark.hadoop.fs.store.impl", StoreFiles.class.getName())
        .set("spark.hadoop.fs.s3a.impl", ObjectFiles.class.getName());
    context = new JavaSparkContext(conf);
  }

  @AfterAll
  static void stop() {
    context.stop();
  }

  @BeforeEach
  void writeModels() throws IOException {
    base = Models.write(dir.resolve("base"), 0, LAYERS, 2);
    tuned = Models.write(dir.resolve("tuned"), 1, LAYERS, 1);
    newer = Models.write(dir.resolve("newer"), 2, LAYERS, SHARDS);
  }

  @AfterEach
  void behave() throws InterruptedException {
    // Attempts that a failed job gave up end after it, and write as long.
    while (Stream.of(context.sc().statusTracker().getExecutorInfos()).anyMatch(executor -> executor.numRunningTasks() > 0)) {
      Thread.sleep(10);
    }
    StoreFiles.FAILURES.set(0);
    StoreFiles.onCreate = () -> {};
  }

  /** A place as the file system of a scheme names it. */
  private static String at(String scheme, Path path) {
    return switch (scheme) {
      case "file" -> path.toUri().toString();
      case "store" -> "store://" + path;
      default -> scheme + "://bucket" + path;
    };
  }

  private PortRequest request(String scheme, Path output) {
    return PortRequest.of(PatchSource.fineTuned(at(scheme, tuned), at(scheme, base)), at(scheme, newer), at(scheme, output));
  }

  private WriteReport expected(Path onto, Path output, double scale) throws IOException {
    try (ModelVersion old = Checkpoints.open(base);
        ModelVersion fineTuned = Checkpoints.open(tuned);
        ModelVersion newBase = Checkpoints.open(onto)) {
      return Checkpoints.write(Patch.from(fineTuned, old).scaledBy(scale).applyTo(newBase), output);
    }
  }

  private static void assertSame(WriteReport expected, WriteReport actual) throws IOException {
    assertEquals(expected.rounding(), actual.rounding());
    assertEquals(expected.tensors(), actual.tensors());
    assertEquals(expected.bytes(), actual.bytes());
    assertTrue(expected.total().touched() > 0);
  }

  @ParameterizedTest
  @ValueSource(strings = {"file", "store", "s3a"})
  void aShardedPortHasTheBytesAndCountsOfOneProcess(String scheme) throws IOException {
    WriteReport expected = expected(newer, dir.resolve("expected"), 1);
    WriteReport actual = SparkPorts.on(context).port(request(scheme, dir.resolve("out")));
    assertSame(expected, actual);
    assertEquals(Models.digests(dir.resolve("expected")), Models.digests(dir.resolve("out")));
    assertEquals(List.of("base", "expected", "newer", "out", "tuned"), Models.names(dir));
  }

  @ParameterizedTest
  @ValueSource(strings = {"file", "store", "s3a"})
  void aSingleFileIsWrittenInRanges(String scheme) throws IOException {
    newer = Models.write(dir.resolve("single"), 2, LAYERS, 1);
    for (String name : List.of("out", "out.safetensors")) {
      WriteReport expected = expected(newer, dir.resolve("expected-" + name), 1);
      WriteReport actual = SparkPorts.on(context).withRangeBytes(9001).port(request(scheme, dir.resolve(name)));
      assertSame(expected, actual);
      assertEquals(Models.digests(dir.resolve("expected-" + name)), Models.digests(dir.resolve(name)));
    }
    assertEquals(
        List.of("base", "expected-out", "expected-out.safetensors", "newer", "out", "out.safetensors", "single", "tuned"),
        Models.names(dir));
  }

  @ParameterizedTest
  @ValueSource(strings = {"store", "s3a"})
  void attemptsThatBreakOffAreRunAgainAndLeaveNothing(String scheme) throws IOException {
    WriteReport expected = expected(newer, dir.resolve("expected"), 1);
    StoreFiles.FAILURES.set(3);
    WriteReport actual = SparkPorts.on(context).port(request(scheme, dir.resolve("out")));
    assertEquals(0, StoreFiles.FAILURES.get());
    assertSame(expected, actual);
    assertEquals(Models.digests(dir.resolve("expected")), Models.digests(dir.resolve("out")));
    assertEquals(List.of("base", "expected", "newer", "out", "tuned"), Models.names(dir));
  }

  @ParameterizedTest
  @ValueSource(strings = {"store", "s3a"})
  void aJobThatFailsLeavesNoFile(String scheme) throws IOException {
    StoreFiles.FAILURES.set(1000);
    IOException failure = assertThrows(IOException.class, () -> SparkPorts.on(context).port(request(scheme, dir.resolve("out"))));
    assertTrue(failure.getMessage().contains("broken off by the test"), failure.getMessage());
    assertEquals(Map.of(), Files.exists(dir.resolve("out")) ? Models.digests(dir.resolve("out")) : Map.of());
    assertEquals(List.of("base", "newer", "tuned"), Models.names(dir).stream().filter(name -> !name.equals("out")).toList());
  }

  @Test
  void tenantsOfAllKindsArePortedInOneJob() throws IOException {
    Path patch = dir.resolve("p.patch.safetensors");
    writePatch(patch);
    List<PortRequest> requests = new ArrayList<>();
    requests.add(request("file", dir.resolve("out0")));
    PatchSource file = PatchSource.patchFile(patch.toString());
    requests.add(PortRequest.of(file.scaledBy(0.5), newer.toString(), dir.resolve("out1").toString()));
    requests.add(PortRequest.of(file.only("*q_proj*").except("*.0.*"), newer.toString(), dir.resolve("out2").toString()));
    List<WriteReport> reports = SparkPorts.on(context).portAll(requests);

    assertSame(expected(newer, dir.resolve("expected0"), 1), reports.get(0));
    assertSame(expected(newer, dir.resolve("expected1"), 0.5), reports.get(1));
    assertEquals(LAYERS - 1, reports.get(2).rounding().size());
    assertEquals(Models.digests(dir.resolve("expected0")), Models.digests(dir.resolve("out0")));
    assertEquals(Models.digests(dir.resolve("expected1")), Models.digests(dir.resolve("out1")));
  }

  @Test
  void anExactPatchMakesTheFineTunedModelAndFitsItsBaseAlone() throws IOException {
    Path patch = dir.resolve("exact.patch.safetensors");
    try (ModelVersion old = Checkpoints.open(base); ModelVersion fineTuned = Checkpoints.open(tuned)) {
      PatchFile.write(Patch.exact(fineTuned, old), patch);
    }
    PatchSource source = PatchSource.patchFile(patch.toString());
    SparkPorts ports = SparkPorts.on(context).withRangeBytes(9001);
    ports.port(PortRequest.of(source, base.toString(), dir.resolve("out").toString()));
    try (ModelVersion made = Checkpoints.open(dir.resolve("out")); ModelVersion fineTuned = Checkpoints.open(tuned)) {
      assertEquals(Fingerprint.of(fineTuned), Fingerprint.of(made));
    }
    assertThrows(IncompatibleModelException.class,
        () -> ports.port(PortRequest.of(source, newer.toString(), dir.resolve("other").toString())));
    assertEquals(List.of("base", "exact.patch.safetensors", "newer", "out", "tuned"), Models.names(dir));
  }

  @Test
  void weightsThatOverflowAreRefusedByTheTaskThatSeesThem() throws IOException {
    // The largest finite values of BF16, and a change that is as large.
    Models.setFirst(newer.resolve("model-00001-of-00004.safetensors"), 0x7f7f);
    Models.setFirst(tuned.resolve("model.safetensors"), 0x7f7f);
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> SparkPorts.on(context).port(request("file", dir.resolve("out"))));
    assertTrue(refusal.getMessage().contains("'model.layers.0.self_attn.q_proj.weight'"), refusal.getMessage());
    assertEquals(List.of("base", "newer", "tuned"), Models.names(dir));
  }

  @Test
  void whatDoesNotFitIsRefusedBeforeAnyTaskRuns() throws IOException {
    newer = Models.write(dir.resolve("small"), 2, LAYERS - 1, 2);
    assertThrows(IncompatibleModelException.class, () -> SparkPorts.on(context).port(request("file", dir.resolve("out"))));
    SparkPorts.on(context).port(request("file", dir.resolve("out")).allowing(Allow.MISSING_TENSORS));
    assertTrue(Files.exists(dir.resolve("out/model.safetensors.index.json")));
  }

  @Test
  void anExistingOutputIsReplacedOnlyOnDemandAndNeverOnAnObjectStore() throws IOException {
    Path out = Models.write(dir.resolve("out"), 7, LAYERS, 3);
    Map<String, String> before = Models.digests(out);
    for (String scheme : List.of("file", "s3a")) {
      assertThrows(FileAlreadyExistsException.class, () -> SparkPorts.on(context).port(request(scheme, out)));
    }
    assertThrows(FileAlreadyExistsException.class, () -> SparkPorts.on(context).port(request("s3a", out).overwriting()));
    assertThrows(IllegalArgumentException.class, () -> SparkPorts.on(context).portAll(
        List.of(request("file", out).overwriting(), request("file", out).overwriting())));
    assertEquals(before, Models.digests(out));

    SparkPorts.on(context).port(request("file", out).overwriting());
    expected(newer, dir.resolve("expected"), 1);
    assertEquals(Models.digests(dir.resolve("expected")), Models.digests(out));
    assertEquals(List.of("base", "expected", "newer", "out", "tuned"), Models.names(dir));
  }

  @ParameterizedTest
  @ValueSource(strings = {"store", "s3a"})
  void anInputThatChangesMeanwhileIsNoticed(String scheme) throws IOException {
    StoreFiles.onCreate = () -> {
      try {
        Files.setLastModifiedTime(newer.resolve("model-00003-of-00004.safetensors"), FileTime.fromMillis(1_000_000));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    };
    IOException refusal = assertThrows(IOException.class, () -> SparkPorts.on(context).port(request(scheme, dir.resolve("out"))));
    assertTrue(refusal.getMessage().contains("model-00003-of-00004.safetensors] "), refusal.getMessage());
    assertTrue(refusal.getMessage().contains("changed since"), refusal.getMessage());
    assertEquals(Map.of(), Files.exists(dir.resolve("out")) ? Models.digests(dir.resolve("out")) : Map.of());
  }

  @ParameterizedTest
  @ValueSource(strings = {"file", "store", "s3a"})
  void patchFilesHaveTheBytesOfOneProcess(String scheme) throws IOException {
    Path expected = dir.resolve("expected.patch.safetensors");
    writePatch(expected);
    Map<String, PatchSource> patches = new LinkedHashMap<>();
    PatchSource source = PatchSource.fineTuned(at(scheme, tuned), at(scheme, base));
    patches.put(at(scheme, dir.resolve("a.safetensors")), source);
    patches.put(at(scheme, dir.resolve("b.safetensors")), source.scaledBy(2));
    List<Long> bytes = SparkPorts.on(context).diffAll(patches, false);
    assertArrayEquals(Files.readAllBytes(expected), Files.readAllBytes(dir.resolve("a.safetensors")));
    assertEquals(List.of(Files.size(expected), Files.size(dir.resolve("b.safetensors"))), bytes);
    assertThrows(FileAlreadyExistsException.class, () -> SparkPorts.on(context).diffAll(patches, false));
    assertEquals(List.of("a.safetensors", "b.safetensors", "base", "expected.patch.safetensors", "newer", "tuned"), Models.names(dir));
  }

  private void writePatch(Path file) throws IOException {
    try (ModelVersion old = Checkpoints.open(base); ModelVersion fineTuned = Checkpoints.open(tuned)) {
      PatchFile.write(Patch.from(fineTuned, old), file);
    }
  }

  @Test
  void reportsAreThoseOfOneProcess() throws IOException {
    Path file = dir.resolve("p.patch.safetensors");
    writePatch(file);
    PatchSource models = PatchSource.fineTuned(at("store", tuned), at("store", base));
    List<PatchSource> sources = List.of(models, models.scaledBy(3), PatchSource.patchFile(at("store", file)));
    List<PortabilityReport> reports = SparkPorts.on(context).withRangeBytes(15_000).checkAll(sources, at("store", newer));
    try (ModelVersion old = Checkpoints.open(base);
        ModelVersion fineTuned = Checkpoints.open(tuned);
        ModelVersion newBase = Checkpoints.open(newer);
        PatchFile opened = PatchFile.open(file)) {
      Patch patch = Patch.from(fineTuned, old);
      assertEquals(patch.checkAgainst(newBase), reports.get(0));
      assertEquals(patch.scaledBy(3).checkAgainst(newBase), reports.get(1));
      assertEquals(opened.patch().checkAgainst(newBase), reports.get(2));
    }
  }

  @Test
  void theCommandDoesTheSameAndRefusesMisuse() throws IOException {
    expected(newer, dir.resolve("expected"), 1);
    String[] patch = {"--fine-tuned", tuned.toString(), "--base", base.toString()};
    assertTrue(command(0, patch, "port", "--onto", newer.toString(), "-o", dir.resolve("out").toString(), "--range-bytes", "20000")
        .contains("10 tensors, 31,360 bytes, 10 of them changed"));
    assertEquals(Models.digests(dir.resolve("expected")), Models.digests(dir.resolve("out")));
    command(0, patch, "diff", "-o", dir.resolve("p.safetensors").toString());
    assertTrue(Files.exists(dir.resolve("p.safetensors")));
    assertTrue(command(0, patch, "check", "--to", newer.toString(), "--json").contains("\"verdict\""));
    try (ModelVersion model = Checkpoints.open(newer)) {
      assertEquals(Fingerprint.of(model).digest(), command(0, new String[0], "fingerprint", "--model", newer.toString()).strip());
    }
    for (String[] wrong : new String[][] {
      {}, {"sing"}, {"port", "--louder", "x"}, {"port", "-o"}, {"port", "--patch", "x", "--adapter", "y", "--onto", "n", "-o", "o"},
      {"port", "--patch", "x", "--onto", "n"}, {"fingerprint"}, {"port", "--patch", "x", "--onto", "n", "-o", "o", "--allow", "all"},
      {"check", "--patch", "x", "--to", "n", "--scale", "big"}
    }) {
      assertThrows(
          IllegalArgumentException.class,
          () -> SparkMain.run(Arguments.parse(wrong), context, System.out),
          () -> List.of(wrong).toString());
    }
  }

  private static String command(int code, String[] patch, String... arguments) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    String[] all = Stream.concat(Stream.of(arguments), Stream.of(patch)).toArray(String[]::new);
    assertEquals(code, SparkMain.run(Arguments.parse(all), context, new PrintStream(out, true, StandardCharsets.UTF_8)));
    return out.toString(StandardCharsets.UTF_8);
  }

  @Test
  void anAttemptThatOutlivesTheJobFindsNowhereToWrite() throws IOException {
    Configuration configuration = context.hadoopConfiguration();
    HadoopOutput output = HadoopOutput.of(dir.resolve("out").toString(), true, false, "run", configuration);
    output.begin(configuration);
    String part = output.writePart("model.safetensors", "0-0", out -> out.write(1), configuration);
    output.writePart("model.safetensors", "0-1", out -> out.write(1), configuration);
    output.assemble("model.safetensors", List.of(part), 1, configuration);
    output.commit(configuration);
    assertThrows(IOException.class, () -> output.writePart("model.safetensors", "0-2", out -> out.write(1), configuration));
    assertEquals(List.of("model.safetensors"), Models.names(dir.resolve("out")));
    assertEquals(List.of("base", "newer", "out", "tuned"), Models.names(dir));
  }

  @Test
  void aPartOfTheWrongLengthIsNotCommitted() throws IOException {
    Configuration configuration = context.hadoopConfiguration();
    HadoopOutput output = HadoopOutput.of(dir.resolve("out").toString(), true, false, "run", configuration);
    output.begin(configuration);
    String part = output.writePart("model.safetensors", "0-0", out -> out.write(1), configuration);
    IOException refusal = assertThrows(IOException.class, () -> output.assemble("model.safetensors", List.of(part), 2, configuration));
    assertTrue(refusal.getMessage().endsWith("should have 2 bytes but has 1"), refusal.getMessage());
    output.discard(List.of(), refusal, configuration);
    assertEquals(List.of("base", "newer", "tuned"), Models.names(dir));
  }

  @ParameterizedTest
  @ValueSource(strings = {"file", "store"})
  void aFingerprintIsThatOfOneProcess(String scheme) throws IOException {
    try (ModelVersion model = Checkpoints.open(newer)) {
      assertEquals(Fingerprint.of(model), SparkPorts.on(context).withRangeBytes(7000).fingerprint(at(scheme, newer)));
    }
  }
}
