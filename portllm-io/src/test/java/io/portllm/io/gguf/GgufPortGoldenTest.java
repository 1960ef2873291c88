package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.golden.Goldens;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Ports of Hugging Face patches onto GGUF bases give what patching the checkpoint and converting it with llama.cpp gives, for every way in which the
 * conversion changes weights.
 */
class GgufPortGoldenTest {
  private static final Path GOLDENS = Path.of("../../shared/golden/hf-gguf");

  @ParameterizedTest
  @ValueSource(
      strings = {
        "falcon-mq", "gemma2", "gemma3-oov", "gpt2", "llama", "llama-bias", "llama3", "mixtral", "olmo2", "phi3", "qwen2"
      })
  void portGivesTheTensorsOfTheConvertedPort(String family) throws IOException {
    Path folder = GOLDENS.resolve(family);
    Assumptions.assumeTrue(Files.exists(folder), "needs " + folder);
    try (ModelVersion base = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion fineTuned = Checkpoints.open(folder.resolve("hf/fine-tuned"));
        ModelVersion newBase = Checkpoints.open(folder.resolve("new-base.gguf"));
        ModelVersion expected = Checkpoints.open(folder.resolve("ported.gguf"))) {
      ModelVersion ported = Patch.from(fineTuned, base).applyTo(newBase);
      assertTrue(expected.tensors().size() > 10);
      assertEquals(expected.tensors(), ported.tensors());
      for (TensorInfo tensor : expected.tensors()) {
        ByteBuffer want = Goldens.bytes(expected, tensor);
        assertEquals(-1, want.mismatch(Goldens.bytes(ported, tensor)), tensor.name());
      }
    }
  }
}
