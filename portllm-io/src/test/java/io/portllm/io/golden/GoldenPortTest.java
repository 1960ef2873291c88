package io.portllm.io.golden;

import io.portllm.FineTuned;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Ports of small models of awkward weights (subnormals, signed zeros, ties, NaN payloads, weights next to overflow) have the bits
 * that torch gives. {@code tools/golden_ports.py} made the files.
 */
class GoldenPortTest {
  @TempDir
  Path scratch;

  @ParameterizedTest
  @CsvSource({
      "bf16, 1.0", "bf16, 0.75", "bf16-onto-f32, 1.0", "bf16-onto-f32, 0.75", "f16, 1.0", "f16, 0.75", "f32, 1.0", "f32, 0.75",
      "f64, 1.0", "f64, 0.75", "f64-onto-f32, 1.0", "f64-onto-f32, 0.75", "f8_e4m3, 1.0", "f8_e4m3, 0.75", "f8_e5m2, 1.0", "f8_e5m2, 0.75"
  })
  void fullWeightPortHasTorchsBits(String name, double scale) throws IOException {
    Path folder = Goldens.path("ports/" + name);
    try (ModelVersion fineTuned = Checkpoints.open(folder.resolve("fine-tuned"))) {
      assertPort(folder, fineTuned, scale, "full-" + scale);
    }
  }

  @ParameterizedTest
  @CsvSource({
      "bf16, 1.0", "bf16, 0.75", "bf16-onto-f32, 1.0", "bf16-onto-f32, 0.75", "f16, 1.0", "f16, 0.75", "f32, 1.0", "f32, 0.75",
      "f64, 1.0", "f64, 0.75", "f64-onto-f32, 1.0", "f64-onto-f32, 0.75", "f8_e4m3, 1.0", "f8_e4m3, 0.75", "f8_e5m2, 1.0", "f8_e5m2, 0.75"
  })
  void loraPortHasTorchsBits(String name, double scale) throws IOException {
    Path folder = Goldens.path("ports/" + name);
    try (PeftAdapter adapter = PeftAdapter.open(folder.resolve("adapter"))) {
      assertPort(folder, adapter, scale, "lora-" + scale);
    }
  }

  private void assertPort(Path folder, FineTuned fineTuned, double scale, String golden) throws IOException {
    Path output = scratch.resolve("ported");
    try (ModelVersion base = Checkpoints.open(folder.resolve("base"));
        ModelVersion newBase = Checkpoints.open(folder.resolve("new-base"));
        ModelVersion expected = Checkpoints.open(folder.resolve(golden + ".safetensors"))) {
      ModelVersion ported = Patch.from(fineTuned, base).scaledBy(scale).applyTo(newBase);
      Goldens.assertSameBits(expected, ported);
      Checkpoints.write(ported, output);
      try (ModelVersion written = Checkpoints.open(output)) {
        Goldens.assertSameBits(expected, written);
      }
    }
  }
}
