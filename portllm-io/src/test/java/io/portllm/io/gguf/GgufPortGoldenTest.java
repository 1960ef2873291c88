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
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Ports of Hugging Face patches onto GGUF bases give what patching the checkpoint and converting it with llama.cpp gives, for every way in which the
 * conversion changes weights.
 */
class GgufPortGoldenTest {
  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void portGivesTheTensorsOfTheConvertedPort(String family) throws IOException {
    Path folder = GgufGoldens.folder(family);
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

  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void writtenPortIsTheConvertedPortByteForByte(String family, @TempDir Path scratch) throws IOException {
    Path folder = GgufGoldens.folder(family);
    Path output = scratch.resolve("ported.gguf");
    try (ModelVersion base = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion fineTuned = Checkpoints.open(folder.resolve("hf/fine-tuned"));
        ModelVersion newBase = Checkpoints.open(folder.resolve("new-base.gguf"))) {
      Checkpoints.write(Patch.from(fineTuned, base).applyTo(newBase), output);
    }
    assertEquals(-1, Files.mismatch(folder.resolve("ported.gguf"), output));
  }
}
