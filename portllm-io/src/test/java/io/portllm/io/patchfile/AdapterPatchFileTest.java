package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.BasePolicy;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Patch files of changes that depend on the weights they are put on: what an adapter stores for them, and files that lie about it. */
class AdapterPatchFileTest {
  private static final String MODULE = "model.layers.0.self_attn.q_proj";
  private static final MergeOptions EVALUATE = MergeOptions.defaults().withBasePolicy(BasePolicy.EVALUATE_ANEW);
  private static final String CONFIG =
      "{\"peft_type\":\"IA3\",\"base_model_name_or_path\":\"somebody/secret\",\"target_modules\":[\"q_proj\"],"
          + "\"fan_in_fan_out\":false,\"bias\":\"none\",\"feedforward_modules\":[],\"modules_to_save\":null}";

  @TempDir Path dir;

  private static TestModel model(String name, long seed) {
    return new TestModel(name)
        .random(MODULE + ".weight", DType.F32, seed, 0.1, 12, 8)
        .random(MODULE + ".bias", DType.F32, seed + 1, 0.1, 12)
        .random("model.norm.weight", DType.F32, seed + 2, 0.1, 8);
  }

  /** An IA³ adapter, saved as a patch that is evaluated anew. */
  private Path save() throws IOException {
    Path folder = Files.createDirectories(dir.resolve("adapter"));
    Files.writeString(folder.resolve("adapter_config.json"), CONFIG);
    new TestModel("adapter")
        .random("base_model.model." + MODULE + ".ia3_l", DType.F32, 5, 1, 12, 1)
        .saveFile(folder.resolve("adapter_model.safetensors"));
    Path file = dir.resolve("good.patch.safetensors");
    try (PeftAdapter adapter = PeftAdapter.open(folder)) {
      PatchFile.write(Patch.from(adapter, model("base", 10), EVALUATE), file, WriteOptions.defaults().withoutSketches());
    }
    return file;
  }

  @Test
  void weightAndBiasAreChangedAsTheAdapterChangesThem() throws IOException {
    try (PatchFile file = PatchFile.open(save());
        PeftAdapter adapter = PeftAdapter.open(dir.resolve("adapter"))) {
      Patch patch = Patch.from(adapter, model("base", 10), EVALUATE);
      assertEquals(2, patch.deltas().size());
      TestModel newBase = model("new", 20);
      assertEquals(Fingerprint.of(patch.applyTo(newBase)), Fingerprint.of(file.patch().applyTo(newBase)));
      assertFalse(Fingerprint.of(newBase).equals(Fingerprint.of(file.patch().applyTo(newBase))));
    }
  }

  @Test
  void whatTheAdapterStoresIsStoredOnceAndItsSourceIsNot() throws IOException {
    try (ModelVersion stored = Checkpoints.open(save())) {
      assertEquals(List.of("portllm.adapters.0." + MODULE + ".ia3_l"), stored.tensors().stream().map(TensorInfo::name).toList());
      String config = stored.shards().get(0).metadata().get("portllm.adapters");
      assertEquals("[{\"fan_in_fan_out\":false,\"feedforward_modules\":[],\"peft_type\":\"IA3\"}]", config);
    }
  }

  @Test
  void aChangeOfNoAdapterIsRefusedWithItsName() {
    RowChange doubling =
        new RowChange() {
          @Override
          public Shape shape() {
            return Shape.of(2, 2);
          }

          @Override
          public boolean dependsOnWeights() {
            return true;
          }

          @Override
          public List<Tensor> inputs() {
            return List.of();
          }

          @Override
          public void compute(long fromRow, long toRow, Tensor weights, float[] target) {
            throw new AssertionError();
          }
        };
    Patch patch =
        Patch.of(Map.of("a.weight", new Delta.Computed(doubling, Optional.empty())), Optional.empty(), "double");
    IllegalStateException refusal =
        assertThrows(IllegalStateException.class, () -> PatchFile.write(patch, dir.resolve("p.safetensors")));
    String expected = "the change of tensor 'a.weight' is computed anew on each base's weights by something that is no adapter";
    assertTrue(refusal.getMessage().startsWith(expected), refusal.getMessage());
    assertFalse(Files.exists(dir.resolve("p.safetensors")));
  }

  private record Parts(Map<String, String> metadata, List<TensorInfo> tensors, List<byte[]> bytes) {
    Parts with(String key, String from, String to) {
      Map<String, String> changed = new TreeMap<>(metadata);
      assertTrue(changed.get(key).contains(from), changed.get(key));
      changed.put(key, changed.get(key).replace(from, to));
      return new Parts(changed, tensors, bytes);
    }

    Parts without(String key) {
      Map<String, String> changed = new TreeMap<>(metadata);
      changed.remove(key);
      return new Parts(changed, tensors, bytes);
    }

    Parts first(String name, byte[] values, long... shape) {
      return new Parts(metadata, List.of(new TensorInfo(name, DType.F32, Shape.of(shape))), List.of(values));
    }
  }

  private Parts parts() throws IOException {
    try (ModelVersion model = Checkpoints.open(save())) {
      Shard shard = model.shards().get(0);
      List<byte[]> bytes = new ArrayList<>();
      for (TensorInfo tensor : shard.tensors()) {
        ByteBuffer all = ByteBuffer.allocate((int) tensor.bytes());
        model.read(tensor, 0, all);
        bytes.add(all.array());
      }
      return new Parts(Unsealed.metadata(shard.metadata()), shard.tensors(), bytes);
    }
  }

  private DynamicTest refused(String rule, String message, Parts parts) {
    return DynamicTest.dynamicTest(
        message,
        () -> {
          TestModel model = new TestModel("p").shard("p.safetensors", parts.metadata());
          for (int i = 0; i < parts.tensors().size(); i++) {
            TensorInfo tensor = parts.tensors().get(i);
            model.tensor(tensor.name(), tensor.dtype(), parts.bytes().get(i), tensor.shape().toArray());
          }
          Path file = model.saveFile(dir.resolve("p.safetensors"));
          MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
          assertEquals("[" + file + "] " + message + " (" + rule + ")", refusal.getMessage());
        });
  }

  @TestFactory
  Stream<DynamicTest> filesThatLieAreRefused() throws IOException {
    Parts good = parts();
    String deltas = "portllm.deltas";
    String adapters = "portllm.adapters";
    String weight = "tensor '" + MODULE + ".weight'";
    String bias = "tensor '" + MODULE + ".bias'";
    String part = good.tensors().get(0).name();
    byte[] nan = good.bytes().get(0).clone();
    ByteBuffer.wrap(nan).order(ByteOrder.LITTLE_ENDIAN).putFloat(8, Float.NaN);
    return Stream.of(
        refused("PF-ADAPTER", bias + " is changed by adapter 7, but there are 1", good.with(deltas, "\"adapter\":0", "\"adapter\":7")),
        refused("PF-ADAPTER", bias + " is changed by adapter 0, but there are 0", good.without(adapters)),
        refused("PF-FORMAT", adapters + " is no JSON list", good.with(adapters, good.metadata().get(adapters), "{}")),
        refused("PF-KIND", bias + " needs a whole number of 0 or more as adapter", good.with(deltas, "\"adapter\":0,", "")),
        refused(
            "PF-ADAPTER",
            bias + " is neither weight nor bias of the module 'model.layers.1.self_attn.q_proj'",
            good.with(deltas, "\"module\":\"model.layers.0", "\"module\":\"model.layers.1")),
        refused("PF-SHAPE", bias + " has no shape", good.with(deltas, ",\"weight\":[12,8]", "")),
        refused(
            "PF-ADAPTER",
            "adapter 0 does not fit the shapes of its weights: " + weight + ": is [11, 8] in the base, but the adapter is for 12 outputs",
            good.with(deltas, "[12,8]", "[11,8]")),
        refused(
            "PF-ADAPTER",
            bias + " is not changed by adapter 0 depending on its weights",
            good.with(deltas, "\"shape\":[12]", "\"shape\":[13]")),
        refused("AD-TYPE", "names no adapter kind: peft_type is missing", good.with(adapters, "\"peft_type\":\"IA3\"", "\"x\":1")),
        refused(
            "AD-TYPE",
            "is an adapter of kind PROMPT_TUNING, which trains inputs that are put before the text, and changes no weight",
            good.with(adapters, "IA3", "PROMPT_TUNING")),
        refused("AD-CONFIG", "is not a JSON object", good.with(adapters, good.metadata().get(adapters), "[3]")),
        refused("AD-MODEL", "holds no tensors", good.with(deltas, ",\"parts\":[\"ia3_l\"]", "")),
        refused("PF-TENSORS", "tensor '" + part + "' is missing", good.first("other", good.bytes().get(0), 12, 1)),
        refused(
            "PF-TENSORS", "tensor 'portllm.adapters.0." + MODULE + ".ia3_m' is missing", good.with(deltas, "[\"ia3_l\"]", "[\"ia3_m\"]")),
        refused(
            "AD-VALUES",
            "tensor 'base_model.model." + MODULE + ".ia3_l' is NaN at element 2",
            good.first(part, nan, 12, 1)));
  }
}
