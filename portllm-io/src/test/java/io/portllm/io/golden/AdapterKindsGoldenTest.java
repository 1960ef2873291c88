package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
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
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Adapters of the kinds whose change is the same on every base (and of MiSS and OSF), ported onto their own base, give the weights that PEFT 0.21.0's
 * {@code merge_and_unload()} gave in float32. {@code tools/golden_adapter_kinds.py} made those under {@code adapters}.
 */
class AdapterKindsGoldenTest {
  /** PEFT's products add up in another order. */
  private static final double TOLERANCE = 1e-6;

  /** PEFT decomposes the weights in float32, the library in float64. */
  private static final double TOLERANCE_OF_OSF = 1e-5;

  private static final List<String> KINDS =
      List.of(
          "adalora", "c3a", "fourierft", "gralora", "ln_tuning", "loha", "lokr", "lokr_both", "miss", "osf", "randlora", "shira", "vera", "waveft");

  private static final List<String> BASES = List.of("llama-base-1", "gpt2-base-1", "parts");

  @TempDir private Path temporary;

  static Stream<Path> adapters() throws IOException {
    List<Path> folders = new ArrayList<>(KINDS.stream().map(kind -> Goldens.path("peft/" + kind)).toList());
    try (Stream<Path> more = Files.list(Goldens.path("adapters"))) {
      more.filter(PeftAdapter::isAdapter).sorted().forEach(folders::add);
    }
    return folders.stream();
  }

  @ParameterizedTest
  @MethodSource("adapters")
  void adapterWithItsBaseGivesWhatPeftMerges(Path folder) throws IOException {
    try (ModelVersion base = openBase(folder);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      assertMerged(expected, base, Patch.from(adapter, base).applyTo(base), tolerance(folder));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {
      "peft/adalora", "peft/c3a", "peft/gralora", "peft/ln_tuning", "peft/loha", "peft/lokr", "peft/lokr_both", "adapters/gralora-gpt2",
      "adapters/loha-conv", "adapters/lokr-conv-whole", "adapters/lokr-factor"
  })
  void adapterThatTellsItsShapesGivesWhatPeftMergesWithoutItsBase(String name) throws IOException {
    Path folder = Goldens.path(name);
    // One-dimensional convolutions look like two-dimensional ones in the adapter.
    String[] globs = {name.contains("conv") ? "conv.weight" : "*"};
    try (ModelVersion base = openBase(folder);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      ModelVersion ported = adapter.patch().only(globs).applyTo(base);
      int compared = 0;
      for (TensorInfo tensor : expected.tensors()) {
        if (globs[0].equals("*") || globs[0].equals(tensor.name())) {
          Closeness.assertClose(tensor, Goldens.bytes(expected, tensor), Goldens.bytes(ported, tensor), TOLERANCE);
          compared++;
        }
      }
      assertTrue(compared > 0, "there are tensors to compare");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"fourierft", "miss", "randlora", "shira", "vera", "waveft"})
  void adapterThatDoesNotTellItsShapesIsRefusedWithoutItsBase(String name) throws IOException {
    Path folder = Goldens.path("peft/" + name);
    try (ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, adapter::patch);

      List<String> named = refusal.mismatches().stream().map(Mismatch::tensor).sorted().toList();
      assertEquals(expected.tensors().stream().map(TensorInfo::name).sorted().toList(), named);
      assertTrue(refusal.getMessage().contains("only the base tells"), refusal.getMessage());
    }
  }

  @ParameterizedTest
  @MethodSource("adapters")
  void savedPatchGivesTheSameBytes(Path folder) throws IOException {
    Path file = temporary.resolve("saved.patch.safetensors");
    try (ModelVersion base = openBase(folder);
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      Patch patch = Patch.from(adapter, base);
      PatchFile.write(patch, file);
      try (PatchFile saved = PatchFile.open(file)) {
        Goldens.assertSameBits(patch.applyTo(base), saved.patch().applyTo(base));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("adapters")
  void scaledPatchAddsSoMuchOfTheChange(Path folder) throws IOException {
    try (ModelVersion base = openBase(folder);
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      ModelVersion ported = Patch.from(adapter, base).scaledBy(-0.5).applyTo(base);
      for (TensorInfo tensor : expected.tensors()) {
        ByteBuffer old = Goldens.bytes(base, tensor);
        ByteBuffer merged = Goldens.bytes(expected, tensor);
        for (int i = 0; i < merged.limit(); i += 4) {
          merged.putFloat(i, old.getFloat(i) - 0.5f * (merged.getFloat(i) - old.getFloat(i)));
        }
        Closeness.assertClose(tensor, merged, Goldens.bytes(ported, tensor), tolerance(folder));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("adapters")
  void readingInPiecesGivesTheSameBytes(Path folder) throws IOException {
    try (ModelVersion base = openBase(folder);
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      ModelVersion ported = Patch.from(adapter, base).applyTo(base);
      for (String name : Patch.from(adapter, base).deltas().keySet()) {
        TensorInfo tensor = ported.find(name).orElseThrow();
        ByteBuffer pieces = ByteBuffer.allocate((int) tensor.bytes());
        for (int start = 0; start < pieces.capacity(); start += 4 * 77) {
          ported.read(tensor, start, pieces.limit(Math.min(start + 4 * 77, pieces.capacity())));
        }
        assertEquals(-1, Goldens.bytes(ported, tensor).mismatch(pieces.flip()), name);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"adalora", "miss", "vera"})
  void lowRankKindStaysLowRank(String name) throws IOException {
    Path folder = Goldens.path("peft/" + name);
    try (ModelVersion base = openBase(folder);
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      Patch.from(adapter, base).deltas().forEach((tensor, delta) -> assertTrue(delta instanceof Delta.LowRank, tensor));
    }
  }

  @Test
  void factorsOfStackedExpertsAreAddedToTheStack() throws IOException {
    Path folder = Goldens.path("peft/lora_moe_params");
    try (ModelVersion base = Checkpoints.open(Goldens.path("adapters/mixtral-fused"));
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      assertMerged(expected, base, Patch.from(adapter, base).applyTo(base), TOLERANCE);
    }
  }

  @Test
  void factorsOfStackedExpertsAreAddedToExpertsThatTheBaseHoldsApart() throws IOException {
    Path folder = Goldens.path("peft/lora_moe_params");
    try (ModelVersion base = Checkpoints.open(Goldens.path("peft/mixtral-base-1"));
        ModelVersion expected = Checkpoints.open(folder.resolve("expected_merged.safetensors"));
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      ModelVersion ported = Patch.from(adapter, base).applyTo(base);
      assertEquals(base.tensors(), ported.tensors());
      int compared = 0;
      for (TensorInfo tensor : base.tensors()) {
        Optional<ByteBuffer> part = partOfStack(expected, tensor);
        if (part.isPresent()) {
          Closeness.assertClose(tensor, part.get(), Goldens.bytes(ported, tensor), TOLERANCE);
          compared++;
        } else if (expected.find(tensor.name()).isEmpty()) {
          Goldens.assertSameBits(tensor, Goldens.bytes(base, tensor), ported);
        }
      }
      assertEquals(2 * 4 * 3, compared, "layers, experts, matrices of each");
    }
  }

  /** The bytes of an expert's matrix out of the stack that transformers makes of them. */
  private static Optional<ByteBuffer> partOfStack(ModelVersion stacks, TensorInfo tensor) throws IOException {
    Matcher name = Pattern.compile("(.*)block_sparse_moe\\.experts\\.(\\d)\\.w(\\d)\\.weight").matcher(tensor.name());
    if (!name.matches()) {
      return Optional.empty();
    }
    boolean down = name.group(3).equals("2");
    TensorInfo stack = stacks.find(name.group(1) + "mlp.experts." + (down ? "down_proj" : "gate_up_proj")).orElseThrow();
    int place = Integer.parseInt(name.group(2)) * (down ? 1 : 2) + (name.group(3).equals("3") ? 1 : 0);
    return Optional.of(Goldens.bytes(stacks, stack).slice((int) (place * tensor.bytes()), (int) tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN));
  }

  @Test
  void factorsOfExpertsWithoutABaseAreRefused() throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(Goldens.path("peft/lora_moe_params"))) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, adapter::patch);

      List<String> expected = new ArrayList<>();
      for (int layer = 0; layer < 2; layer++) {
        expected.add("model.layers." + layer + ".mlp.experts.gate_up_proj");
        expected.add("model.layers." + layer + ".mlp.experts.down_proj");
      }
      assertEquals(expected, refusal.mismatches().stream().map(Mismatch::tensor).toList());
    }
  }

  @Test
  void otherNumberOfExpertsIsRefused() throws IOException {
    Path folder = edited("peft/lora_moe_params", config -> config.putObject("rank_pattern").put("experts.*", 4));
    for (String name : List.of("peft/mixtral-base-1", "adapters/mixtral-fused")) {
      try (ModelVersion base = Checkpoints.open(Goldens.path(name));
          PeftAdapter adapter = PeftAdapter.open(folder)) {
        IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Patch.from(adapter, base));
        assertTrue(refusal.mismatches().size() >= 4, name);
      }
    }
  }

  @Test
  void parametersInAnUnknownOrderAreRefused() throws IOException {
    Path folder =
        edited("peft/lora_moe_params", config -> config.putArray("target_parameters").add("mlp.experts.one").add("mlp.experts.other"));

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));

    assertEquals("AD-TARGET", refusal.rule());
  }

  @ParameterizedTest
  @CsvSource({
      "PROMPT_TUNING, changes no weight", "MULTITASK_PROMPT_TUNING, changes no weight", "P_TUNING, changes no weight",
      "PREFIX_TUNING, changes no weight", "ADAPTION_PROMPT, changes no weight", "CPT, changes no weight", "CARTRIDGE, changes no weight",
      "XLORA, anew for each token", "POLY, by the task of each input", "NEWEST, only LORA"
  })
  void kindWithoutAChangeOfWeightsIsRefusedByNameAndReason(String type, String reason) throws IOException {
    Path folder = edited("peft/c3a", config -> config.put("peft_type", type));

    String message = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder)).getMessage();

    assertTrue(message.contains(type) && message.contains(reason) && message.contains("AD-TYPE"), message);
  }

  @Test
  void waveletThatPeftCannotUseIsRefused() throws IOException {
    Path folder = edited("peft/waveft", config -> config.put("wavelet_family", "coif5"));
    try (ModelVersion base = openBase(folder);
        PeftAdapter adapter = PeftAdapter.open(folder)) {
      Exception refusal = assertThrows(Exception.class, () -> Patch.from(adapter, base));
      assertTrue(refusal.getMessage().contains("'coif5'"), refusal.getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource({"loha, r, AD-SHAPE", "lokr_both, r, AD-SHAPE", "gralora, gralora_k, AD-SHAPE", "c3a, block_size, AD-SHAPE"})
  void configurationThatContradictsTheTensorsIsRefused(String name, String field, String rule) throws IOException {
    Path folder = edited("peft/" + name, config -> config.put(field, config.get(field).intValue() * 2));

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));

    assertEquals(rule, refusal.rule());
  }

  @Test
  void everySharedAdapterOfTheseKindsIsChecked() throws IOException {
    Path shared = Path.of("../../shared/peft");
    assumeTrue(Files.isDirectory(shared), "the shared adapters are not here");
    List<Executable> checks = new ArrayList<>();
    for (String kind : KINDS) {
      checks.add(() -> assertTrue(Files.isDirectory(shared.resolve(kind)), kind));
      checks.add(
          () ->
              assertEquals(
                  -1,
                  Files.mismatch(
                      shared.resolve(kind).resolve("adapter_model.safetensors"), Goldens.path("peft/" + kind).resolve("adapter_model.safetensors")),
                  kind + " is the shared one"));
    }
    assertAll(checks);
  }

  private interface Edit {
    void change(ObjectNode config);
  }

  /** A copy of an adapter with another configuration. */
  private Path edited(String name, Edit edit) throws IOException {
    Path folder = Files.createDirectory(temporary.resolve("edited"));
    Files.copy(Goldens.path(name).resolve("adapter_model.safetensors"), folder.resolve("adapter_model.safetensors"));
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode config = (ObjectNode) mapper.readTree(Files.readString(Goldens.path(name).resolve("adapter_config.json")));
    edit.change(config);
    Files.writeString(folder.resolve("adapter_config.json"), mapper.writeValueAsString(config));
    return folder;
  }

  private static ModelVersion openBase(Path adapter) throws IOException {
    JsonNode config = new ObjectMapper().readTree(Files.readString(adapter.resolve("adapter_config.json")));
    String name = config.get("base_model_name_or_path").textValue();
    assertTrue(BASES.contains(name), name);
    return Checkpoints.open(Goldens.path((name.equals("parts") ? "adapters/" : "peft/") + name));
  }

  private static double tolerance(Path adapter) {
    return adapter.getFileName().toString().startsWith("osf") ? TOLERANCE_OF_OSF : TOLERANCE;
  }

  private static void assertMerged(ModelVersion expected, ModelVersion base, ModelVersion ported, double tolerance) throws IOException {
    assertTrue(expected.tensors().size() > 0, "the golden has tensors");
    for (TensorInfo tensor : expected.tensors()) {
      assertEquals(tensor, ported.find(tensor.name()).orElseThrow());
      Closeness.assertClose(tensor, Goldens.bytes(expected, tensor), Goldens.bytes(ported, tensor), tolerance);
    }
    assertEquals(base.tensors(), ported.tensors());
    for (TensorInfo tensor : base.tensors()) {
      if (expected.find(tensor.name()).isEmpty()) {
        Goldens.assertSameBits(tensor, Goldens.bytes(base, tensor), ported);
      }
    }
  }
}
