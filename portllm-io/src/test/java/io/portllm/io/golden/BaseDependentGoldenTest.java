package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.BasePolicy;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Adapters whose change depends on the base, under both policies, give what PEFT 0.21.0 merges. {@code tools/golden_dependent.py} made the
 * files.
 */
class BaseDependentGoldenTest {
  /** PEFT computes in float32, and inverts matrices there. */
  private static final double TOLERANCE = 1e-5;

  private static final double ROTATION_TOLERANCE = 1e-4;

  private static final MergeOptions FREEZE = MergeOptions.defaults();
  private static final MergeOptions EVALUATE = FREEZE.withBasePolicy(BasePolicy.EVALUATE_ANEW);

  static Stream<String> cases() throws IOException {
    try (Stream<Path> folders = Files.list(Goldens.path("dependent"))) {
      List<Path> found = folders.filter(folder -> Files.exists(folder.resolve("expected-on-2.safetensors"))).sorted().toList();
      assertEquals(28, found.size(), "number of goldens");
      return found.stream().map(folder -> folder.getFileName().toString());
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void frozenOnItsOwnBaseGivesWhatPeftMerges(String name) throws IOException {
    port(name, FREEZE, 1, (expected, old, newBase, ported) -> assertMerged(name, expected, newBase, ported));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void evaluatedOnItsOwnBaseGivesWhatPeftMerges(String name) throws IOException {
    port(name, EVALUATE, 1, (expected, old, newBase, ported) -> assertMerged(name, expected, newBase, ported));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void evaluatedOnAnotherBaseGivesWhatPeftMergesIntoIt(String name) throws IOException {
    port(name, EVALUATE, 2, (expected, old, newBase, ported) -> assertMerged(name, expected, newBase, ported));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void frozenOnAnotherBaseAddsWhatPeftChangedInTheOldOne(String name) throws IOException {
    port(name, FREEZE, 2, (unused, old, newBase, ported) -> {
      try (ModelVersion merged = Checkpoints.open(Goldens.path("dependent/" + name + "/expected-on-1.safetensors"))) {
        for (TensorInfo tensor : merged.tensors()) {
          float[] expected = floats(newBase, tensor);
          float[] after = floats(merged, tensor);
          float[] before = floats(old, tensor);
          for (int i = 0; i < expected.length; i++) {
            expected[i] += after[i] - before[i];
          }
          assertClose(tensor, expected, floats(ported, tensor), tolerance(name));
        }
      }
    });
  }

  /** Chunks end anywhere: in the middle of a row, of a half of a group, of a block. */
  @ParameterizedTest
  @MethodSource("cases")
  void changesAreTheSameWhateverRowsAreAskedFor(String name) throws IOException {
    try (ModelVersion old = tower(1); PeftAdapter adapter = open(name)) {
      int checked = 0;
      for (Delta delta : Patch.from(adapter, old, FREEZE).deltas().values()) {
        if (delta instanceof Delta.Computed computed) {
          Tensor weights = computed.frozenOn().orElse(null);
          int rows = (int) delta.shape().rows();
          int columns = (int) delta.shape().columns();
          float[] whole = new float[rows * columns];
          computed.change().compute(0, rows, weights, whole);
          float[] byRow = new float[rows * columns];
          for (int row = 0; row < rows; row++) {
            float[] one = new float[columns];
            computed.change().compute(row, row + 1, weights, one);
            System.arraycopy(one, 0, byRow, row * columns, columns);
          }
          assertArrayEquals(whole, byRow);
          checked++;
        }
      }
      assertTrue(checked > 0, "something is computed");
    }
  }

  @Test
  void frozenPatchIsSavedAndReadBackWithTheSameBits(@TempDir Path folder) throws IOException {
    for (String name : cases().toList()) {
      Path file = folder.resolve(name + ".patch.safetensors");
      try (ModelVersion old = tower(1); ModelVersion newBase = tower(2); PeftAdapter adapter = open(name)) {
        Patch patch = Patch.from(adapter, old, FREEZE);
        PatchFile.write(patch, file);
        try (PatchFile saved = PatchFile.open(file)) {
          Goldens.assertSameBits(patch.applyTo(newBase), saved.patch().applyTo(newBase));
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void patchThatIsEvaluatedAnewIsSavedAndReadBackWithTheSameBits(String name, @TempDir Path folder) throws IOException {
    try (ModelVersion old = tower(1); ModelVersion newBase = tower(2); PeftAdapter adapter = open(name)) {
      Patch patch = Patch.from(adapter, old, EVALUATE);
      Path file = folder.resolve("one.patch.safetensors");
      PatchFile.write(patch, file);
      try (PatchFile saved = PatchFile.open(file)) {
        for (ModelVersion base : List.of(old, newBase)) {
          Goldens.assertSameBits(patch.applyTo(base), saved.patch().applyTo(base));
          Goldens.assertSameBits(patch.scaledBy(-0.5).applyTo(base), saved.patch().scaledBy(-0.5).applyTo(base));
        }
        Path again = folder.resolve("two.patch.safetensors");
        PatchFile.write(saved.patch(), again);
        assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(again));
      }
    }
  }

  /** Two adapters of one kind on the same modules, and one of another: each keeps what it is computed of. */
  @Test
  void aSumOfAdaptersThatAreEvaluatedAnewIsSavedToo(@TempDir Path folder) throws IOException {
    try (ModelVersion old = tower(1);
        ModelVersion newBase = tower(2);
        PeftAdapter dora = open("dora");
        PeftAdapter other = open("dora-rslora");
        PeftAdapter hra = open("hra")) {
      Patch two = Patch.from(dora, old, EVALUATE).plus(Patch.from(other, old, EVALUATE).scaledBy(0.25));
      Patch sum = two.plus(Patch.from(hra, old, EVALUATE).negate());
      Path file = folder.resolve("sum.patch.safetensors");
      PatchFile.write(sum, file);
      try (PatchFile saved = PatchFile.open(file)) {
        Goldens.assertSameBits(sum.applyTo(newBase), saved.patch().applyTo(newBase));
        String some = sum.deltas().keySet().iterator().next();
        Path part = folder.resolve("part.patch.safetensors");
        PatchFile.write(saved.patch().only(some), part);
        try (PatchFile reread = PatchFile.open(part)) {
          Goldens.assertSameBits(sum.only(some).applyTo(newBase), reread.patch().applyTo(newBase));
          assertTrue(Files.size(part) < Files.size(file));
        }
      }
    }
  }

  @Test
  void frozenChangeNeedsItsBaseAndTheMessageNamesTheOption() throws IOException {
    try (PeftAdapter adapter = open("dora")) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, adapter::patch);

      assertTrue(refusal.getMessage().contains("--base-dependent evaluate"), refusal.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"ia3", "oft-exact", "boft", "hra", "road-1"})
  void kindThatDoesNotTellItsShapeNeedsABaseUnderEitherPolicy(String name) throws IOException {
    try (PeftAdapter adapter = open(name)) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> adapter.patch(EVALUATE));

      assertTrue(refusal.getMessage().contains("give its base, or, to evaluate it anew, the new base as its base"), refusal.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"dora", "dora-embedding", "dora-turned", "delora"})
  void kindThatTellsItsShapeIsEvaluatedWithoutItsBase(String name) throws IOException {
    Path folder = Goldens.path("dependent/" + name);
    try (ModelVersion newBase = tower(2);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected-on-2.safetensors"));
        PeftAdapter adapter = open(name)) {
      assertMerged(name, expected, newBase, adapter.patch(EVALUATE).applyTo(newBase));
    }
  }

  @Test
  void deloraThatStoresItsBasesNormsIsFrozenWithoutItsBase() throws IOException {
    try (ModelVersion old = tower(1); ModelVersion newBase = tower(2); PeftAdapter adapter = open("delora")) {
      Goldens.assertSameBits(Patch.from(adapter, old, FREEZE).applyTo(newBase), adapter.patch().applyTo(newBase));
    }
  }

  @Test
  void everyShapeThatDoesNotFitTheBaseIsListed() throws IOException {
    for (String name : List.of("ia3", "oft-exact", "boft", "hra", "road-1", "dora")) {
      try (ModelVersion other = Checkpoints.open(Goldens.path("dependent/ia3-conv/adapter_model.safetensors")); PeftAdapter adapter = open(name)) {
        IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Patch.from(adapter, other, FREEZE));

        assertEquals(List.of("down.weight", "up.weight"), refusal.mismatches().stream().map(mismatch -> mismatch.tensor()).toList(), name);
      }
    }
  }

  @Test
  void oftThatDoesNotSayWhichWayItTurnsIsRefused(@TempDir Path folder) throws IOException {
    change("oft-exact", folder, config -> config.remove("use_cayley_neumann"));

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));

    assertTrue(refusal.getMessage().contains("use_cayley_neumann"), refusal.getMessage());
  }

  @Test
  void theTwoSettingsOfOftTurnInOppositeDirections(@TempDir Path folder) throws IOException {
    change("oft-exact", folder, config -> config.put("use_cayley_neumann", true).put("num_cayley_neumann_terms", 200));
    try (ModelVersion base = tower(1);
        PeftAdapter exact = open("oft-exact");
        PeftAdapter series = PeftAdapter.open(folder);
        ModelVersion once = Patch.from(exact, base, FREEZE).applyTo(base)) {
      ModelVersion back = Patch.from(series, once, FREEZE).applyTo(once);
      TensorInfo tensor = base.find("up.weight").orElseThrow();
      assertClose(tensor, floats(base, tensor), floats(back, tensor), ROTATION_TOLERANCE);
    }
  }

  @Test
  void doraWithoutAMagnitudeIsRefused(@TempDir Path folder) throws IOException {
    change("pissa-converted", folder, config -> config.put("use_dora", true));

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));

    assertTrue(refusal.getMessage().contains("(AD-DORA"), refusal.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"pissa", "olora"})
  void adapterWhoseInitialisationChangedItsBaseIsRefusedSayingHowToConvertIt(String name) {
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(Goldens.path("dependent/" + name)));

    assertTrue(refusal.getMessage().contains("was initialised by '" + name + "'"), refusal.getMessage());
    assertTrue(refusal.getMessage().contains("path_initial_model_for_weight_conversion"), refusal.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"pissa_niter_16, path_initial_model", "OLoRA, path_initial_model", "corda, path_initial_model", "lora_ga, path_initial_model", "loftq, does not convert"})
  void everyInitialisationThatChangesTheBaseIsRefused(String init, String advice, @TempDir Path folder) throws IOException {
    change("pissa-converted", folder, config -> config.put("init_lora_weights", init));

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));

    assertTrue(refusal.getMessage().contains(advice), refusal.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"pissa-converted", "olora-converted"})
  void convertedAdapterIsPlainLoraAndGivesWhatPeftMerged(String name) throws IOException {
    Path folder = Goldens.path("dependent/" + name);
    try (ModelVersion base = tower(1);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected-on-1.safetensors"));
        PeftAdapter adapter = open(name)) {
      Patch patch = adapter.patch();
      patch.deltas().values().forEach(delta -> assertInstanceOf(Delta.LowRank.class, delta));
      assertMerged(name, expected, base, patch.applyTo(base));
    }
  }

  @ParameterizedTest
  @CsvSource({"lora_dora", "ia3", "oft", "boft", "hra", "road", "delora"})
  void sharedAdapterGivesWhatPeftMergesUnderBothPolicies(String name) throws IOException {
    Path folder = Path.of("../../shared/peft").resolve(name);
    assumeTrue(Files.isDirectory(folder), "the shared adapters are not here");
    for (MergeOptions options : List.of(FREEZE, EVALUATE)) {
      try (ModelVersion base = Checkpoints.open(folder.resolveSibling("llama-base-1"));
          ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
          PeftAdapter adapter = PeftAdapter.open(folder)) {
        assertMerged(name, expected, base, Patch.from(adapter, base, options).applyTo(base));
      }
    }
  }

  /** Looks at a ported model. */
  private interface Check {
    void look(ModelVersion expected, ModelVersion old, ModelVersion newBase, ModelVersion ported) throws IOException;
  }

  private static void port(String name, MergeOptions options, int tower, Check check) throws IOException {
    Path golden = Goldens.path("dependent/" + name + "/expected-on-" + tower + ".safetensors");
    try (ModelVersion old = tower(1); ModelVersion newBase = tower(tower); ModelVersion expected = Checkpoints.open(golden); PeftAdapter adapter = open(name)) {
      check.look(expected, old, newBase, Patch.from(adapter, old, options).applyTo(newBase, options));
    }
  }

  private static ModelVersion tower(int number) throws IOException {
    return Checkpoints.open(Goldens.path("dependent/tower-" + number));
  }

  private static PeftAdapter open(String name) throws IOException {
    return PeftAdapter.open(Goldens.path("dependent/" + name));
  }

  /** Changes fields of a copy of an adapter's configuration. */
  private interface Edit {
    void edit(ObjectNode config);
  }

  private static void change(String name, Path folder, Edit edit) throws IOException {
    Path golden = Goldens.path("dependent/" + name);
    Files.copy(golden.resolve("adapter_model.safetensors"), folder.resolve("adapter_model.safetensors"));
    JsonNode config = new ObjectMapper().readTree(Files.readString(golden.resolve("adapter_config.json")));
    edit.edit((ObjectNode) config);
    Files.writeString(folder.resolve("adapter_config.json"), config.toString());
  }

  private static double tolerance(String name) {
    return name.startsWith("oft") || name.startsWith("boft") ? ROTATION_TOLERANCE : TOLERANCE;
  }

  private static void assertMerged(String name, ModelVersion expected, ModelVersion base, ModelVersion ported) throws IOException {
    assertTrue(expected.tensors().size() > 0, "the golden has tensors");
    for (TensorInfo tensor : expected.tensors()) {
      assertClose(tensor, floats(expected, tensor), floats(ported, tensor), tolerance(name));
    }
    assertEquals(base.tensors(), ported.tensors());
    for (TensorInfo tensor : base.tensors()) {
      if (expected.find(tensor.name()).isEmpty()) {
        Goldens.assertSameBits(tensor, Goldens.bytes(base, tensor), ported);
      }
    }
  }

  private static float[] floats(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer bytes = Goldens.bytes(model, model.find(tensor.name()).orElseThrow());
    float[] values = new float[bytes.remaining() / 4];
    bytes.asFloatBuffer().get(values);
    return values;
  }

  private static void assertClose(TensorInfo tensor, float[] expected, float[] found, double tolerance) {
    assertEquals(expected.length, found.length);
    Closeness.assertClose(tensor, bytes(expected), bytes(found), tolerance);
  }

  private static ByteBuffer bytes(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes;
  }
}
