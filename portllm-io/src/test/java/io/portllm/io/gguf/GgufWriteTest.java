package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.gguf.GgufBytes;
import io.portllm.io.internal.gguf.ValueType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is written is the file that was read, with other weights where there are others. */
class GgufWriteTest {
  private static final Path SHARED = Path.of("../../shared");

  @TempDir Path dir;

  private static Stream<Path> files(Path root, String ending) throws IOException {
    try (Stream<Path> files = Files.walk(root)) {
      return files.filter(file -> file.toString().endsWith(ending)).sorted().toList().stream();
    }
  }

  private static Map<String, String> tree(Path root) throws IOException {
    Map<String, String> tree = new TreeMap<>();
    for (Path file : files(root, "").filter(Files::isRegularFile).toList()) {
      tree.put(root.relativize(file).toString(), Hashing.sha256().hashBytes(Files.readAllBytes(file)).toString());
    }
    return tree;
  }

  private byte[] rewritten(Path file) throws IOException {
    Path out = dir.resolve("rewritten.gguf");
    try (ModelVersion model = Checkpoints.open(file)) {
      Checkpoints.write(model, out, WriteOptions.defaults().overwriting());
    }
    return Files.readAllBytes(out);
  }

  private void writeSet(Path folder, int parts) throws IOException {
    for (int i = 1; i <= parts; i++) {
      GgufBytes part = new GgufBytes()
          .entry("split.no", ValueType.U16, (short) (i - 1))
          .entry("split.tensors.count", ValueType.I32, parts)
          .entry("split.count", ValueType.U16, (short) parts)
          .entry("only.here." + i, ValueType.F32, 0.1f * i);
      part.tensor("t" + i, DType.Q4_0, 2, 32).write(folder.resolve(String.format("m-%05d-of-%05d.gguf", i, parts)));
    }
  }

  @Test
  void convertedModelsAreRewrittenByteForByte() throws IOException {
    assumeTrue(Files.isDirectory(SHARED.resolve("golden/hf-gguf")), "no shared goldens");
    List<Path> models = files(SHARED.resolve("golden/hf-gguf"), ".gguf").toList();
    assertTrue(models.size() >= 33, models::toString);
    for (Path model : models) {
      assertArrayEquals(Files.readAllBytes(model), rewritten(model), model::toString);
    }
  }

  @Test
  void validTortureFilesAreReadTheSameOnceRewritten() throws IOException {
    assumeTrue(Files.isDirectory(SHARED.resolve("torture/gguf/valid")), "no shared torture set");
    for (Path file : files(SHARED.resolve("torture/gguf/valid"), ".gguf").toList()) {
      byte[] bytes = Files.readAllBytes(file);
      byte[] written = rewritten(file);
      // Three were padded with other bytes, followed by some, or not in the order of the header.
      boolean odd = Set.of("nonzero_padding.gguf", "trailing_bytes.gguf", "order_not_dense.gguf").contains(file.getFileName().toString());
      assertEquals(odd, !Arrays.equals(bytes, written), file::toString);
      try (ModelVersion before = Checkpoints.open(file); ModelVersion after = Checkpoints.open(dir.resolve("rewritten.gguf"))) {
        assertEquals(before.tensors(), after.tensors());
        assertEquals(Fingerprint.of(before), Fingerprint.of(after));
      }
      assertArrayEquals(written, rewritten(dir.resolve("rewritten.gguf")));
    }
  }

  @Test
  void everyTypeVersionAndAlignmentIsRewrittenByteForByte() throws IOException {
    for (int version : new int[] {2, 3}) {
      for (int alignment : new int[] {1, 8, 32, 4096}) {
        GgufBytes made = new GgufBytes().version(version).alignment(alignment).strings("tokens", "a", "\u00e9").tensor("f", DType.F16, 3)
            .tensor("empty", DType.F32, 0).tensor("q", DType.Q6_K, 3, 256).tensor("scalar", DType.I8);
        Path file = made.write(dir.resolve("m.gguf"));
        assertArrayEquals(Files.readAllBytes(file), rewritten(file));
      }
    }
    Path everything = GgufBytes.everything(3).write(dir.resolve("everything.gguf"));
    assertArrayEquals(Files.readAllBytes(everything), rewritten(everything));
    Path empty = new GgufBytes().version(2).write(dir.resolve("empty.gguf"));
    assertArrayEquals(Files.readAllBytes(empty), rewritten(empty));
  }

  @Test
  void weightsAreWrittenInTheOrderOfTheHeaderWithPaddingAtTheEnd() throws IOException {
    byte[] a = GgufBytes.random(20, 1);
    byte[] b = GgufBytes.random(8, 2);
    byte[] inOrder = new GgufBytes().tensor("a", DType.F32, a, 5).tensor("b", DType.F32, b, 2).build();
    ByteBuffer swapped = ByteBuffer.wrap(inOrder.clone());
    int data = inOrder.length - 64;
    swapped.put(data, b).put(data + b.length, new byte[32 - b.length]).put(data + 32, a);
    // The offset is the last field of what the header says of a tensor.
    swapped.put(24 + 9 + 4 + 8 + 4, (byte) 32).put(24 + 33 + 9 + 4 + 8 + 4, (byte) 0);
    Path file = Files.write(dir.resolve("m.gguf"), Arrays.copyOf(swapped.array(), inOrder.length - 12));

    assertArrayEquals(inOrder, rewritten(file));
  }

  @Test
  void aModelOfSeveralFilesIsWrittenAsAFolderOfThem() throws IOException {
    Path in = Files.createDirectory(dir.resolve("in"));
    writeSet(in, 3);
    try (ModelVersion model = Checkpoints.open(in.resolve("m-00002-of-00003.gguf"))) {
      WriteReport report = Checkpoints.write(model, dir.resolve("out"));

      assertEquals(tree(in), tree(dir.resolve("out")));
      assertEquals(3, report.tensors());
      assertEquals(3 * 36, report.bytes());
      IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve("out.gguf")));
      assertTrue(refusal.getMessage().contains("has 3 weight files; name a folder"), refusal::getMessage);
      assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(model, dir.resolve("out")));
      Checkpoints.write(model, dir.resolve("out"), WriteOptions.defaults().overwriting());
      assertEquals(tree(in), tree(dir.resolve("out")));
    }
  }

  @Test
  void aSingleFileIsWrittenToAFolderUnderItsName() throws IOException {
    Path file = GgufBytes.everything(3).write(dir.resolve("in/m.gguf"));
    try (ModelVersion model = Checkpoints.open(file)) {
      Checkpoints.write(model, dir.resolve("out"));
    }
    assertEquals(tree(dir.resolve("in")), tree(dir.resolve("out")));
  }

  @Test
  void aFolderThatHoldsTheModelIsNotReplacedUnlessItIsTheModel() throws IOException {
    Path file = GgufBytes.everything(3).write(dir.resolve("in/m.gguf"));
    Map<String, String> before = tree(dir.resolve("in"));
    try (ModelVersion model = Checkpoints.open(file)) {
      IOException refusal =
          assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve("in"), WriteOptions.defaults().overwriting()));
      assertTrue(refusal.getMessage().contains("holds what is read"), refusal::getMessage);
    }
    try (ModelVersion model = Checkpoints.open(dir.resolve("in"))) {
      Checkpoints.write(model, dir.resolve("in"), WriteOptions.defaults().overwriting());
    }
    assertEquals(before, tree(dir.resolve("in")));
    try (ModelVersion model = Checkpoints.open(file)) {
      Checkpoints.write(model, file, WriteOptions.defaults().overwriting());
    }
    assertEquals(before, tree(dir.resolve("in")));
  }

  @Test
  void neitherFormatIsWrittenAsTheOther() throws IOException {
    try (ModelVersion gguf = Checkpoints.open(GgufBytes.everything(3).write(dir.resolve("m.gguf")))) {
      assertRefused("named as safetensors, but '" + dir.resolve("m.gguf") + "' is a GGUF model", gguf, "out.safetensors");
      assertRefused("has the name of one file of several", gguf, "out-00001-of-00002.gguf");
    }
    Path tensors = Path.of("src/test/resources/golden");
    Path any = files(tensors, "model.safetensors").findFirst().orElseThrow();
    try (ModelVersion model = Checkpoints.open(any)) {
      assertRefused("named as GGUF, but", model, "out.gguf");
    }
    assertEquals(List.of("m.gguf"), List.copyOf(tree(dir).keySet()));
  }

  private void assertRefused(String says, ModelVersion model, String output) {
    IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve(output)));
    assertTrue(refusal.getMessage().contains(says), refusal::getMessage);
  }

  /** A version whose tensors are those of a file with every bit flipped. */
  private record Flipped(ModelVersion newBase, List<String> ranges) implements DerivedModel {
    @Override
    public Set<ModelVersion> inputs() {
      return Set.of(newBase);
    }

    @Override
    public boolean changes(String tensor) {
      return true;
    }

    @Override
    public Rounding readCounting(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
      int blockBytes = tensor.dtype().blockBytes();
      if (offset % blockBytes != 0 || destination.remaining() % blockBytes != 0) {
        throw new IllegalArgumentException("cuts a block");
      }
      synchronized (ranges) {
        ranges.add(tensor.name() + " " + offset);
      }
      int elements = destination.remaining() / blockBytes * tensor.dtype().blockElements();
      int from = destination.position();
      newBase.read(tensor, offset, destination);
      for (int i = from; i < destination.limit(); i++) {
        destination.put(i, (byte) ~destination.get(i));
      }
      return new Rounding(elements, 1, 0, 0);
    }

    @Override
    public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
      readCounting(tensor, offset, destination);
    }

    @Override
    public String name() {
      return newBase.name();
    }

    @Override
    public List<Shard> shards() {
      return newBase.shards();
    }

    @Override
    public List<TensorInfo> tensors() {
      return newBase.tensors();
    }

    @Override
    public Optional<TensorInfo> find(String name) {
      return newBase.find(name);
    }

    @Override
    public void close() {}
  }

  @Test
  void computedWeightsAreReadInWholeBlocksAndTheSameForAnyNumberOfThreads() throws IOException {
    // More than one chunk of 1 MiB, of which no block of 210 bytes is a divisor.
    long rows = 2 * (4 << 20) / 210 + 7;
    Path file = new GgufBytes().entry("k", ValueType.U8, (byte) 1).tensor("f", DType.F32, 5).tensor("q", DType.Q6_K, rows, 256)
        .tensor("g", DType.BF16, 3).write(dir.resolve("m.gguf"));
    try (ModelVersion model = Checkpoints.open(file)) {
      Flipped flipped = new Flipped(model, new ArrayList<>());
      WriteReport report = Checkpoints.write(flipped, dir.resolve("one.gguf"), WriteOptions.defaults().withThreads(1));
      Checkpoints.write(flipped, dir.resolve("four.gguf"), WriteOptions.defaults().withThreads(4));

      assertTrue(flipped.ranges.size() > 6, flipped.ranges::toString);
      assertEquals(Set.of("f", "q", "g"), report.rounding().keySet());
      assertEquals(rows * 256, report.rounding().get("q").touched());
      assertArrayEquals(Files.readAllBytes(dir.resolve("one.gguf")), Files.readAllBytes(dir.resolve("four.gguf")));
    }
    byte[] source = Files.readAllBytes(file);
    byte[] made = Files.readAllBytes(dir.resolve("one.gguf"));
    try (ModelVersion model = Checkpoints.open(dir.resolve("one.gguf"))) {
      TensorInfo q = model.find("q").orElseThrow();
      byte[] expected = GgufBytes.random(q.bytes(), "q".hashCode());
      ByteBuffer found = ByteBuffer.allocate((int) q.bytes());
      model.read(q, 0, found);
      for (int i = 0; i < expected.length; i++) {
        expected[i] = (byte) ~expected[i];
      }
      assertArrayEquals(expected, found.array());
    }
    assertEquals(source.length, made.length);
    int data = source.length - (int) (32 + (rows * 210 + 31) / 32 * 32 + 32);
    assertArrayEquals(Arrays.copyOf(source, data), Arrays.copyOf(made, data));
  }

  @Test
  void aWriteThatStopsLeavesNothing() throws IOException {
    Path file = GgufBytes.everything(3).write(dir.resolve("m.gguf"));
    try (ModelVersion model = Checkpoints.open(file)) {
      WriteOptions cancelled = WriteOptions.defaults().cancelledWhen(() -> true);
      assertThrows(CancellationException.class, () -> Checkpoints.write(model, dir.resolve("out.gguf"), cancelled));
      WriteOptions failing = WriteOptions.defaults().withProgress(new ProgressListener() {
        @Override
        public void progressed(long done, long total) {
          throw new UncheckedIOException(new IOException("enough"));
        }
      });
      assertThrows(UncheckedIOException.class, () -> Checkpoints.write(model, dir.resolve("out.gguf"), failing));
      assertEquals(Set.of("m.gguf"), tree(dir).keySet());
      Files.write(file, new byte[10]);
      assertThrows(IOException.class, () -> Checkpoints.write(model, dir.resolve("out.gguf")));
    }
    assertEquals(Set.of("m.gguf"), tree(dir).keySet());
  }

  @Test
  void exactPatchesOfEveryTypeGoBothWays() throws IOException {
    Path base = GgufBytes.everything(1).write(dir.resolve("base.gguf"));
    Path tuned = GgufBytes.everything(2).write(dir.resolve("tuned.gguf"));
    Path patchFile = dir.resolve("p.patch.safetensors");
    try (ModelVersion baseModel = Checkpoints.open(base); ModelVersion tunedModel = Checkpoints.open(tuned)) {
      PatchFile.write(Patch.exact(tunedModel, baseModel), patchFile);
      try (PatchFile patch = PatchFile.open(patchFile)) {
        Checkpoints.write(patch.patch().applyTo(baseModel), dir.resolve("applied.gguf"));
        assertArrayEquals(Files.readAllBytes(tuned), Files.readAllBytes(dir.resolve("applied.gguf")));
        try (ModelVersion applied = Checkpoints.open(dir.resolve("applied.gguf"))) {
          WriteReport report = Checkpoints.write(patch.patch().inverse().applyTo(applied), dir.resolve("undone.gguf"));
          assertEquals(2 * 3 * 256, report.rounding().get("Q4_K").touched());
        }
        assertArrayEquals(Files.readAllBytes(base), Files.readAllBytes(dir.resolve("undone.gguf")));
        Patch again = patch.patch();
        IncompatibleModelException refusal =
            assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(again.applyTo(tunedModel), dir.resolve("no.gguf")));
        assertTrue(refusal.getMessage().contains("applied already"), refusal::getMessage);
      }
      Patch unsaved = Patch.exact(tunedModel, baseModel);
      Checkpoints.write(unsaved.applyTo(baseModel), dir.resolve("unsaved.gguf"));
      assertArrayEquals(Files.readAllBytes(tuned), Files.readAllBytes(dir.resolve("unsaved.gguf")));
    }
  }

  @Test
  void exactPatchesChangeTypesAndAddAndRemoveTensors() throws IOException {
    Path base = new GgufBytes().tensor("a", DType.Q4_0, 2, 32).tensor("b", DType.F32, 4).write(dir.resolve("base.gguf"));
    Path tuned = new GgufBytes().tensor("a", DType.Q8_0, 2, 32).tensor("c", DType.IQ2_XS, 1, 256).write(dir.resolve("tuned.gguf"));
    Path patchFile = dir.resolve("p.patch.safetensors");
    try (ModelVersion baseModel = Checkpoints.open(base); ModelVersion tunedModel = Checkpoints.open(tuned)) {
      PatchFile.write(Patch.exact(tunedModel, baseModel), patchFile);
      try (PatchFile patch = PatchFile.open(patchFile)) {
        Checkpoints.write(patch.patch().applyTo(baseModel), dir.resolve("applied.gguf"));
        Checkpoints.write(patch.patch().inverse().applyTo(tunedModel), dir.resolve("undone.gguf"));
      }
    }
    assertArrayEquals(Files.readAllBytes(tuned), Files.readAllBytes(dir.resolve("applied.gguf")));
    assertArrayEquals(Files.readAllBytes(base), Files.readAllBytes(dir.resolve("undone.gguf")));
  }

  @Test
  void tensorsAreNeitherAddedToNorRemovedFromASplitModel() throws IOException {
    Path in = Files.createDirectory(dir.resolve("in"));
    writeSet(in, 2);
    Path tuned = new GgufBytes().tensor("t1", DType.Q4_0, 2, 32).write(dir.resolve("tuned.gguf"));
    try (ModelVersion base = Checkpoints.open(in); ModelVersion tunedModel = Checkpoints.open(tuned)) {
      ModelVersion applied = Patch.exact(tunedModel, base).applyTo(base);
      IncompatibleModelException refusal =
          assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(applied, dir.resolve("out")));
      assertTrue(refusal.getMessage().contains("has 2 tensors, and 1 were to be written"), refusal::getMessage);
    }
    assertFalse(Files.exists(dir.resolve("out")));
  }

  @Test
  void tensorsThatGgufCannotHoldAreRefusedTogether() throws IOException {
    Path base = new GgufBytes().tensor("a", DType.F32, 4).write(dir.resolve("base.gguf"));
    String longName = "n".repeat(64);
    Path tuned = Files.write(dir.resolve("tuned.safetensors"), SafetensorsBytes.of(Map.of("b", DType.BOOL, longName, DType.F32)));
    try (ModelVersion baseModel = Checkpoints.open(base); ModelVersion tunedModel = Checkpoints.open(tuned)) {
      ModelVersion applied = Patch.exact(tunedModel, baseModel).applyTo(baseModel);
      IncompatibleModelException refusal =
          assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(applied, dir.resolve("out.gguf")));
      assertTrue(refusal.getMessage().contains("is BOOL, which is no type of GGUF"), refusal::getMessage);
      assertTrue(refusal.getMessage().contains("must have a name of 1 to 63 bytes"), refusal::getMessage);
    }
  }
}
