package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.ProgressListener;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trees;
import io.portllm.io.write.Trio;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a patch file holds. */
class PatchFileContentsTest {
  @TempDir Path dir;

  private Path save(String name, Patch patch) throws IOException {
    PatchFile.write(patch, dir.resolve(name));
    return dir.resolve(name);
  }

  @Test
  void anyReaderOfTheFormatCanOpenIt() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Path file = save("p.patch.safetensors", Patch.from(trio.fineTuned(), trio.base()));

    assertTrue(PatchFile.isPatch(file));
    try (ModelVersion plain = Checkpoints.open(file)) {
      Map<String, String> metadata = plain.shards().get(0).metadata();
      assertEquals("patch", metadata.get("portllm.format"));
      assertEquals("1", metadata.get("portllm.version"));
      assertEquals("tuned - base", metadata.get("portllm.recipe"));
      TensorInfo change = plain.find("model.norm.weight.0.delta").orElseThrow();
      assertEquals(Shape.of(16), change.shape());
    }
    assertFalse(PatchFile.isPatch(trio.base().saveFile(dir.resolve("model.safetensors"))));
  }

  @Test
  void tensorsThatDidNotChangeAreLeftOut() throws IOException {
    Trio trio = Trio.of(DType.BF16);

    try (PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(trio.fineTuned(), trio.base())))) {
      Set<String> expected = new TreeSet<>(Trio.names());
      expected.removeIf(name -> name.endsWith("layernorm.weight"));
      assertEquals(expected, file.patch().deltas().keySet());
    }
  }

  @Test
  void integersAndEmptyTensorsAreLeftOut() throws IOException {
    TestModel base = new TestModel("b").random("ids", DType.I64, 1, 9, 4).random("none", DType.F32, 1, 1, 0, 3)
        .random("w", DType.F32, 1, 1, 4);
    TestModel tuned = new TestModel("t").random("ids", DType.I64, 1, 9, 4).random("none", DType.F32, 1, 1, 0, 3)
        .random("w", DType.F32, 2, 1, 4);

    WriteReport report =
        PatchFile.write(Patch.from(tuned, base), dir.resolve("p.safetensors"), WriteOptions.defaults().withoutSketches());

    assertEquals(1, report.tensors());
    try (PatchFile file = PatchFile.open(dir.resolve("p.safetensors"))) {
      assertEquals(Set.of("w"), file.patch().deltas().keySet());
    }
  }

  /** The type that is stored for the difference of two values of type F32. */
  private DType stored(double tuned, double base) throws IOException {
    TestModel first = new TestModel("t").tensor("w", DType.F32, TestModel.encode(DType.F32, 1, tuned), 2);
    TestModel second = new TestModel("b").tensor("w", DType.F32, TestModel.encode(DType.F32, 0, base), 2);
    Files.deleteIfExists(dir.resolve("p.safetensors"));
    try (PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(first, second)))) {
      Delta.Dense dense = (Delta.Dense) file.patch().deltas().get("w");
      return dense.values().info().dtype();
    }
  }

  @Test
  void differencesAreStoredInTheLeastTypeThatHoldsThemExactly() throws IOException {
    assertEquals(DType.BF16, stored(0x1p-100, 0));
    assertEquals(DType.BF16, stored(1.5, 0.5));
    assertEquals(DType.F16, stored(1 + 0x1p-10, 0));
    assertEquals(DType.F16, stored(0x1p-24 * 511, 0));
    assertEquals(DType.F32, stored(1 + 0x1p-11, 0));
    assertEquals(DType.F32, stored(0x1p-30 * (1 + 0x1p-10), 0));
    assertEquals(DType.F32, stored(65536 * (1 + 0x1p-10), 0));
    // Each value is a BF16, their difference is none.
    assertEquals(DType.F32, stored(256, 0x1p-16));
  }

  @Test
  void sixtyFourBitsAreKeptAsTheyAre() throws IOException {
    TestModel first = new TestModel("t").tensor("w", DType.F64, TestModel.encode(DType.F64, 1, 2), 2);
    TestModel second = new TestModel("b").tensor("w", DType.F64, TestModel.encode(DType.F64, 0.1, 1), 2);

    try (PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(first, second)))) {
      Delta.Dense dense = (Delta.Dense) file.patch().deltas().get("w");
      ByteBuffer bytes = ByteBuffer.allocate(16);
      dense.values().read(0, bytes);
      assertArrayEquals(TestModel.encode(DType.F64, 1 - 0.1, 1), bytes.array());
    }
  }

  @Test
  void theBaseIsRecordedWithItsFingerprint() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    try (PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(trio.fineTuned(), trio.base())))) {
      PatchBase base = file.patch().base().orElseThrow();
      Fingerprint expected = Fingerprint.of(trio.base());
      assertEquals("base", base.name());
      assertEquals(Optional.of(expected.digest()), base.fingerprint());
      assertEquals(expected.tensors(), base.digests());
      assertEquals(Tying.UNTIED, base.tying());
      assertEquals(Set.copyOf(trio.base().tensors()), Set.copyOf(base.tensors()));
      assertEquals(Optional.empty(), base.model());
    }
  }

  @Test
  void tyingIsRecorded() throws IOException {
    TestModel tied = new TestModel("b").random("embed_tokens.weight", DType.F32, 1, 1, 4, 2).config("tie_word_embeddings", "true");

    try (PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(tied, tied)))) {
      assertEquals(Tying.TIED, file.patch().base().orElseThrow().tying());
    }
  }

  @Test
  void theRecipeSaysHowThePatchWasMade() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    Patch composed = patch.scaledBy(0.5).plus(patch.negate()).except("lm_head.*");

    try (PatchFile file = PatchFile.open(save("p.safetensors", composed))) {
      assertEquals("((tuned - base) * 0.5 + (tuned - base) * -1.0) except lm_head.*", file.patch().recipe());
      // Composing what was read goes on from there.
      assertEquals(file.patch().recipe() + " + tuned - base", file.patch().plus(patch).recipe());
    }
  }

  @Test
  void theSamePatchGivesTheSameBytes() throws IOException {
    Trio trio = Trio.of(DType.F16);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    byte[] expected = Files.readAllBytes(save("p.safetensors", patch));

    assertArrayEquals(expected, Files.readAllBytes(save("again.safetensors", Patch.from(trio.fineTuned(), trio.base()))));
    for (int threads : new int[] {1, 2, 7}) {
      Path file = dir.resolve("threads" + threads + ".safetensors");
      PatchFile.write(patch, file, WriteOptions.defaults().withThreads(threads));
      assertArrayEquals(expected, Files.readAllBytes(file));
    }
    for (int seed = 0; seed < 4; seed++) {
      List<String> order = new ArrayList<>(Trio.names());
      Collections.shuffle(order, new Random(seed));
      Patch other = Patch.from(trio.fineTuned().resharded(order, 1 + seed), trio.base().resharded(order, 4 - seed));
      assertArrayEquals(expected, Files.readAllBytes(save("shards" + seed + ".safetensors", other)));
    }
    try (PatchFile file = PatchFile.open(dir.resolve("p.safetensors"))) {
      assertArrayEquals(expected, Files.readAllBytes(save("copy.safetensors", file.patch())));
    }
  }

  @Test
  void theOldModelsAreNotNeededAnyMore() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Path old = Files.createDirectory(dir.resolve("old"));
    Fingerprint expected;
    try (ModelVersion base = Checkpoints.open(trio.base().saveFile(old.resolve("base.safetensors")));
        ModelVersion tuned = Checkpoints.open(trio.fineTuned().saveFile(old.resolve("tuned.safetensors")))) {
      Patch patch = Patch.from(tuned, base);
      save("p.safetensors", patch);
      expected = Fingerprint.of(patch.applyTo(trio.newBase()));
    }
    Files.delete(old.resolve("base.safetensors"));
    Files.delete(old.resolve("tuned.safetensors"));

    try (PatchFile file = PatchFile.open(dir.resolve("p.safetensors"))) {
      assertEquals(expected, Fingerprint.of(file.patch().applyTo(trio.newBase())));
    }
  }

  @Test
  void aClosedFileSaysSo() throws IOException {
    Trio trio = Trio.of(DType.F32);
    PatchFile file = PatchFile.open(save("p.safetensors", Patch.from(trio.fineTuned(), trio.base())));
    ModelVersion patched = file.patch().applyTo(trio.newBase());
    file.close();
    file.close();

    assertThrows(IllegalStateException.class, () -> Fingerprint.of(patched));
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  /** The base of an adapter is read for its fingerprint alone. */
  @Test
  void aBaseThatIsRewrittenMeanwhileIsNoticed() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Path in = trio.base().saveTo(dir.resolve("base"));
    Path weights = in.resolve("model.safetensors");
    Files.setLastModifiedTime(weights, FileTime.fromMillis(1_000_000_000_000L));
    TestModel change = new TestModel("c").random("x", DType.F32, 1, 1, 16);
    ProgressListener later =
        new ProgressListener() {
          @Override
          public void progressed(long doneBytes, long totalBytes) {
            try {
              Files.setLastModifiedTime(weights, FileTime.fromMillis(1_000_000_001_000L));
            } catch (IOException e) {
              throw new AssertionError(e);
            }
          }
        };
    try (ModelVersion base = Checkpoints.open(in)) {
      Patch patch =
          Patch.of(Map.of("model.norm.weight", new Delta.Dense(change.tensor("x").orElseThrow())), Optional.of(PatchBase.of(base)), "one");

      IOException refusal =
          assertThrows(IOException.class, () ->
              PatchFile.write(patch, dir.resolve("p.safetensors"), WriteOptions.defaults().withProgress(later)));

      assertTrue(refusal.getMessage().startsWith("[" + weights + "] the file changed"), refusal::getMessage);
      assertEquals(List.of("base"), Trees.names(dir));
    }
  }

  @Test
  void progressEndsAtItsTotalWhereTheVocabularyGrew() throws IOException {
    TestModel base = new TestModel("b").random("embed_tokens.weight", DType.F32, 1, 1, 10, 4)
        .random("lm_head.weight", DType.F32, 2, 1, 10, 4);
    TestModel tuned = new TestModel("t").random("embed_tokens.weight", DType.F32, 3, 1, 12, 4)
        .random("lm_head.weight", DType.F32, 4, 1, 12, 4);
    List<Boolean> ends = new ArrayList<>();
    ProgressListener listener =
        new ProgressListener() {
          @Override
          public void progressed(long doneBytes, long totalBytes) {
            ends.add(doneBytes == totalBytes);
          }
        };
    Patch patch = Patch.from(tuned, base, MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY));

    PatchFile.write(patch, dir.resolve("p.safetensors"), WriteOptions.defaults().withProgress(listener));

    assertEquals(2, ends.stream().filter(end -> end).count());
  }

  @Test
  void theNameOfAPatchFileEndsAsItsFormatSays() throws IOException {
    Trio trio = Trio.of(DType.F32);

    assertEquals(
        "the name of a patch file must end in .safetensors but was p.patch",
        assertThrows(IllegalArgumentException.class, () -> save("p.patch", Patch.from(trio.fineTuned(), trio.base()))).getMessage());
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void aModelIsNoPatchAndNeitherIsRubbish() throws IOException {
    Path model = Trio.of(DType.F32).base().saveFile(dir.resolve("model.safetensors"));
    Path rubbish = Files.writeString(dir.resolve("rubbish.safetensors"), "rubbish");

    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(model));
    assertEquals("[" + model + "] is no patch: its metadata lacks portllm.format = patch (PF-FORMAT)", refusal.getMessage());
    assertTrue(assertThrows(MalformedModelException.class, () -> PatchFile.open(rubbish)).rule().startsWith("ST-"));
    assertThrows(IOException.class, () -> PatchFile.open(dir.resolve("gone.safetensors")));
    assertEquals(List.of(), Trees.openFiles(dir));
  }
}
