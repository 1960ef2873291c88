package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.FineTuned;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Ports of trained models have the bits that torch gives: every tensor's SHA-256 is as {@code tools/golden_ports.py} found it.
 */
class LabPortTest {
  @TempDir
  Path scratch;

  @ParameterizedTest
  @EnumSource(names = {"BF16", "F16", "F32"})
  void portsOfTheLabsModelsHaveTorchsBits(DType type) throws IOException {
    Path lab = lab();
    JsonNode golden = new ObjectMapper().readTree(Goldens.path("lab-digests.json").toFile()).get(type.name());
    for (String name : golden.get("inputs").propertyStream().map(Map.Entry::getKey).toList()) {
      try (ModelVersion model = Checkpoints.open(lab.resolve(name))) {
        SafetensorsCopy.write(model, type, scratch.resolve(name + ".safetensors"));
      }
      try (ModelVersion converted = open(name)) {
        assertDigests(golden.get("inputs").get(name), converted, name);
      }
    }
    try (ModelVersion v1 = open("v1");
        ModelVersion tuned = open("climbs-full");
        PeftAdapter adapter = PeftAdapter.open(lab.resolve("climbs-lora"))) {
      for (String newBase : new String[] {"v2", "v3", "independent"}) {
        assertPort(golden.get("climbs-full"), tuned, v1, newBase);
        assertPort(golden.get("climbs-lora"), adapter, v1, newBase);
      }
    }
  }

  private void assertPort(JsonNode golden, FineTuned fineTuned, ModelVersion base, String onto) throws IOException {
    try (ModelVersion newBase = open(onto)) {
      assertDigests(golden.get(onto), Patch.from(fineTuned, base).applyTo(newBase), fineTuned.name() + " onto " + onto);
    }
  }

  private ModelVersion open(String name) throws IOException {
    return Checkpoints.open(scratch.resolve(name + ".safetensors"));
  }

  private static void assertDigests(JsonNode expected, ModelVersion model, String what) throws IOException {
    Map<String, String> found = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      found.put(tensor.name(), Hashing.sha256().hashBytes(Goldens.bytes(model, tensor)).toString());
    }
    assertEquals(map(expected), found, what);
  }

  private static Map<String, String> map(JsonNode node) {
    Map<String, String> map = new TreeMap<>();
    node.properties().forEach(field -> map.put(field.getKey(), field.getValue().asText()));
    return map;
  }

  /** The models bundled with the command, or the shared lab. */
  private static Path lab() {
    Path found = Stream.of("../portllm-cli/src/main/resources/io/portllm/cli/demo/models", "../../shared/lab")
        .map(Path::of)
        .filter(folder -> Files.isRegularFile(folder.resolve("climbs-full/model.safetensors")))
        .findFirst()
        .orElse(null);
    assumeTrue(found != null, "the lab's models are not here");
    return found;
  }
}
