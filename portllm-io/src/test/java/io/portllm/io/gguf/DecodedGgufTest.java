package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.kernel.Floats;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import io.portllm.io.golden.Goldens;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** GGUF files as patches see them: the checkpoints that they were converted from. */
class DecodedGgufTest {
  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void decodedFileIsTheCheckpointThatItWasConvertedFrom(String family) throws IOException {
    Path folder = GgufGoldens.folder(family);
    try (ModelVersion checkpoint = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion file = Checkpoints.open(folder.resolve("base.gguf"))) {
      ModelVersion decoded = file.decoded();
      assertEquals(checkpoint.tensors().size(), decoded.tensors().size());
      for (TensorInfo original : checkpoint.tensors()) {
        TensorInfo tensor = decoded.find(original.name()).orElseThrow();
        boolean cut = family.equals("gemma3-oov") && original.name().endsWith("embed_tokens.weight");
        assertEquals(cut ? original.shape().withRows(original.shape().rows() - 8) : original.shape(), tensor.shape(), tensor.name());
        float[] expected = Arrays.copyOf(values(checkpoint, original), (int) tensor.elements());
        assertEquals(-1, Arrays.mismatch(expected, values(decoded, tensor)), tensor.name());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void anyRangeOfElementsIsThatOfTheWhole(String family) throws IOException {
    Path folder = GgufGoldens.folder(family);
    Random random = new Random(family.hashCode());
    try (ModelVersion file = Checkpoints.open(folder.resolve("base.gguf"))) {
      ModelVersion decoded = file.decoded();
      for (TensorInfo tensor : decoded.tensors()) {
        byte[] whole = Goldens.bytes(decoded, tensor).array();
        int size = tensor.dtype().bytes();
        int from = random.nextInt((int) tensor.elements());
        int to = from + 1 + random.nextInt((int) tensor.elements() - from);
        ByteBuffer part = ByteBuffer.allocate((to - from) * size);
        decoded.read(tensor, (long) from * size, part);
        assertEquals(-1, Arrays.mismatch(Arrays.copyOfRange(whole, from * size, to * size), part.array()), tensor.name());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void aPatchBetweenGgufFilesChangesACheckpointAsThatBetweenTheirCheckpoints(String family) throws IOException {
    Path folder = GgufGoldens.folder(family);
    try (ModelVersion base = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion other = Checkpoints.open(folder.resolve("hf/new-base"));
        ModelVersion baseFile = Checkpoints.open(folder.resolve("base.gguf"));
        ModelVersion otherFile = Checkpoints.open(folder.resolve("new-base.gguf"));
        ModelVersion target = Checkpoints.open(folder.resolve("hf/fine-tuned"))) {
      if (family.equals("gemma3-oov")) {
        // The file has fewer rows of the embedding than the checkpoint.
        IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Patch.from(otherFile, baseFile).applyTo(target));
        assertTrue(refusal.getMessage().contains("embed_tokens"), refusal.getMessage());
        return;
      }
      ModelVersion expected = Patch.from(other, base).applyTo(target);
      ModelVersion found = Patch.from(otherFile, baseFile).applyTo(target);
      for (TensorInfo tensor : expected.tensors()) {
        assertEquals(-1, Goldens.bytes(expected, tensor).mismatch(Goldens.bytes(found, tensor)), tensor.name());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("io.portllm.io.gguf.GgufGoldens#families")
  void aFileIsProvenByItsCheckpointAndRefusedForAnother(String family) throws IOException {
    Path folder = GgufGoldens.folder(family);
    try (ModelVersion checkpoint = Checkpoints.open(folder.resolve("hf/new-base"));
        ModelVersion other = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion file = Checkpoints.open(folder.resolve("new-base.gguf"))) {
      Checkpoints.proveConversion(file, checkpoint, WriteOptions.defaults());
      IncompatibleModelException refusal =
          assertThrows(IncompatibleModelException.class, () -> Checkpoints.proveConversion(file, other, WriteOptions.defaults()));
      assertEquals(1, refusal.mismatches().size());
      assertEquals(file.decoded().tensors().get(0).name(), refusal.mismatches().get(0).tensor());
    }
  }

  @Test
  void anAdapterChangesAFileAsItChangesTheCheckpoint() throws IOException {
    Path folder = GgufGoldens.folder("llama");
    try (PeftAdapter adapter = PeftAdapter.open(folder.resolve("adapter"));
        ModelVersion base = Checkpoints.open(folder.resolve("hf/base"));
        ModelVersion baseFile = Checkpoints.open(folder.resolve("base.gguf"));
        ModelVersion newBase = Checkpoints.open(folder.resolve("hf/new-base"));
        ModelVersion newFile = Checkpoints.open(folder.resolve("new-base.gguf"))) {
      ModelVersion expected = Patch.from(adapter, base).applyTo(newBase);
      assertSameValues(expected, Patch.from(adapter, base).applyTo(newFile).decoded());
      assertSameValues(expected, Patch.from(adapter, baseFile).applyTo(newFile).decoded());
      assertSameValues(expected, adapter.patch().applyTo(newFile).decoded());
    }
  }

  @Test
  void anExactPatchBetweenFilesMakesTheOtherBitForBit() throws IOException {
    Path folder = GgufGoldens.folder("llama3");
    try (ModelVersion base = Checkpoints.open(folder.resolve("base.gguf")); ModelVersion other = Checkpoints.open(folder.resolve("ported.gguf"))) {
      ModelVersion made = Patch.exact(other, base).applyTo(base);
      assertEquals(other.tensors(), made.tensors());
      for (TensorInfo tensor : other.tensors()) {
        assertEquals(-1, Goldens.bytes(other, tensor).mismatch(Goldens.bytes(made, tensor)), tensor.name());
      }
    }
  }

  @Test
  void rowsStandForTheTokensOfTheFile() throws IOException {
    try (ModelVersion file = Checkpoints.open(GgufGoldens.folder("llama").resolve("base.gguf"))) {
      Vocabulary vocabulary = file.decoded().vocabulary();
      assertEquals(128, vocabulary.size());
      assertEquals(Optional.of("<unk>"), vocabulary.token(0));
      assertEquals(Optional.of("tok3é"), vocabulary.token(3));
      assertEquals(file.vocabulary(), vocabulary);
    }
  }

  private static void assertSameValues(ModelVersion expected, ModelVersion found) throws IOException {
    for (TensorInfo tensor : expected.tensors()) {
      float[] want = values(expected, tensor);
      assertEquals(-1, Arrays.mismatch(want, values(found, found.find(tensor.name()).orElseThrow())), tensor.name());
    }
  }

  private static float[] values(ModelVersion model, TensorInfo tensor) throws IOException {
    DType type = tensor.dtype();
    int count = (int) tensor.elements();
    float[] values = new float[count];
    Floats.read(type, Goldens.bytes(model, tensor).order(ByteOrder.LITTLE_ENDIAN), 0, values, count, new int[count]);
    return values;
  }
}
