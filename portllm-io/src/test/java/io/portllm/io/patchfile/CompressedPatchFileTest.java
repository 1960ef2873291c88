package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.compress.Compression;
import io.portllm.compress.Compressor;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
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
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Compressed patches in files: read back they do the same, and files that lie are refused. */
class CompressedPatchFileTest {
  private static final String MATRIX = "model.layers.0.mlp.up_proj.weight";

  private static final Compression BANDS =
      Compression.Bands.of(new Compression.Band(2, 8), new Compression.Band(7, 3), new Compression.Band(20, 2));

  @TempDir Path dir;

  static Stream<Compression> compressions() {
    return Stream.of(
        Compression.Bits.of(8),
        Compression.Bits.of(4),
        Compression.Bits.of(3),
        new Compression.Bits(2, Compression.Bits.MATRIX),
        Compression.Bits.of(1),
        BANDS,
        new Compression.Bands(List.of(new Compression.Band(9, 1)), Compression.Bits.ROW),
        new Compression.Bits(1, Compression.Bits.ROW),
        Compression.Density.of(0.02),
        Compression.Density.of(0.3),
        new Compression.Density(0.1, true, Optional.of(Compression.Bits.of(4))),
        new Compression.Density(0.3, false, Optional.of(Compression.Bits.of(1))));
  }

  private static TestModel model(String name, DType type, long seed) {
    return new TestModel(name)
        .random("model.embed_tokens.weight", type, 1 + seed, 0.02, 151, 129)
        .random(MATRIX, type, 2 + seed, 0.02, 1001, 129)
        .random("model.norm.weight", type, 3 + seed, 0.02, 129)
        .random("lm_head.weight", type, 4 + seed, 0.02, 151, 129);
  }

  private static Patch patch(DType type) {
    return Patch.from(model("tuned", type, 10), model("base", type, 20));
  }

  private Path save(Patch patch, String name, int threads) throws IOException {
    Path file = dir.resolve(name + ".patch.safetensors");
    PatchFile.write(patch, file, WriteOptions.defaults().withThreads(threads).withoutSketches());
    return file;
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void aFileDoesWhatThePatchInMemoryDoes(Compression compression) throws IOException {
    for (DType type : List.of(DType.BF16, DType.F32, DType.F64)) {
      Patch patch = Compressor.of(compression).compress(patch(type)).patch();
      ModelVersion newBase = model("new", type, 30);
      Path written = save(patch, "one" + type, 1);
      try (PatchFile file = PatchFile.open(written)) {
        assertEquals(patch.recipe(), file.patch().recipe());
        assertEquals(Fingerprint.of(patch.applyTo(newBase)), Fingerprint.of(file.patch().applyTo(newBase)));
        assertEquals(Fingerprint.of(patch.scaledBy(-0.7).applyTo(newBase)), Fingerprint.of(file.patch().scaledBy(-0.7).applyTo(newBase)));
        Path again = save(file.patch(), "again" + type, 2);
        try (PatchFile copy = PatchFile.open(again)) {
          assertEquals(Fingerprint.of(patch.applyTo(newBase)), Fingerprint.of(copy.patch().applyTo(newBase)));
        }
      }
      assertArrayEquals(Files.readAllBytes(written), Files.readAllBytes(save(patch, "three" + type, 3)));
    }
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void itsTensorsArePlainOnesAtAlignedPlaces(Compression compression) throws IOException {
    Path file = save(Compressor.of(compression).compress(patch(DType.BF16)).patch(), "p", 2);
    try (ModelVersion tensors = Checkpoints.open(file)) {
      long offset = 0;
      for (TensorInfo tensor : tensors.tensors()) {
        assertTrue(List.of(DType.F32, DType.F16, DType.BF16, DType.I64, DType.U8).contains(tensor.dtype()), tensor::toString);
        assertTrue(tensor.dtype() != DType.F32 || offset % 2 == 0, tensor::toString);
        offset += tensor.bytes();
      }
      assertEquals(DType.U8, tensors.tensors().get(tensors.tensors().size() - 1).dtype());
    }
  }

  @Test
  void rowsInCommonAreChangedWhereTheVocabularyDiffers() throws IOException {
    Patch patch = Compressor.of(Compression.Bits.of(4)).compress(patch(DType.F32)).patch();
    TestModel larger = new TestModel("larger");
    for (TensorInfo tensor : model("new", DType.F32, 30).tensors()) {
      long rows = tensor.shape().rows() == 151 ? 160 : tensor.shape().rows();
      larger.random(tensor.name(), DType.F32, 5, 0.02, tensor.shape().rank() == 1 ? new long[] {129} : new long[] {rows, 129});
    }
    try (PatchFile file = PatchFile.open(save(patch, "p", 2))) {
      assertThrows(IncompatibleModelException.class, () -> file.patch().applyTo(larger));
      MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
      Fingerprint expected = Fingerprint.of(patch.applyTo(larger, options));
      assertEquals(expected, Fingerprint.of(file.patch().applyTo(larger, options)));
      assertTrue(!expected.equals(Fingerprint.of(larger)));
      Patch sum = patch.plus(Patch.from(model("tuned", DType.F32, 10), model("base", DType.F32, 20)));
      try (PatchFile both = PatchFile.open(save(sum, "sum", 2))) {
        assertEquals(Fingerprint.of(sum.applyTo(larger, options)), Fingerprint.of(both.patch().applyTo(larger, options)));
      }
    }
  }

  @Test
  void writingCountsWhatRoundingLost() throws IOException {
    Patch patch = Compressor.of(Compression.Density.of(0.1)).compress(patch(DType.BF16)).patch();
    Map<String, Rounding> rounding = Checkpoints.write(patch.applyTo(model("new", DType.BF16, 30)), dir.resolve("out")).rounding();
    assertEquals(Math.round(0.1 * 1001 * 129), rounding.get(MATRIX).touched());
  }

  // What follows takes a good file apart and puts it together with one thing changed.

  private record Parts(Map<String, String> metadata, List<TensorInfo> tensors, List<byte[]> bytes) {
    Parts edit(String suffix, Consumer<ByteBuffer> change) {
      List<byte[]> changed = new ArrayList<>();
      for (int i = 0; i < tensors.size(); i++) {
        byte[] copy = bytes.get(i).clone();
        if (tensors.get(i).name().endsWith(suffix)) {
          change.accept(ByteBuffer.wrap(copy).order(ByteOrder.LITTLE_ENDIAN));
        }
        changed.add(copy);
      }
      return new Parts(metadata, tensors, changed);
    }

    Parts deltas(String from, String to) {
      Map<String, String> changed = new TreeMap<>(metadata);
      assertTrue(changed.get("portllm.deltas").contains(from), changed.get("portllm.deltas"));
      changed.put("portllm.deltas", changed.get("portllm.deltas").replace(from, to));
      return new Parts(changed, tensors, bytes);
    }

    Path save(Path file) {
      TestModel model = new TestModel("p").shard("p.safetensors", metadata);
      for (int i = 0; i < tensors.size(); i++) {
        model.tensor(tensors.get(i).name(), tensors.get(i).dtype(), bytes.get(i), tensors.get(i).shape().toArray());
      }
      return model.saveFile(file);
    }
  }

  private Parts parts(Compression compression) throws IOException {
    return partsOf(save(Compressor.of(compression).compress(patch(DType.F32).only(MATRIX)).patch(), "good", 1));
  }

  private static Parts partsOf(Path file) throws IOException {
    try (ModelVersion model = Checkpoints.open(file)) {
      Shard shard = model.shards().get(0);
      List<byte[]> bytes = new ArrayList<>();
      for (TensorInfo tensor : shard.tensors()) {
        ByteBuffer all = ByteBuffer.allocate((int) tensor.bytes());
        model.read(tensor, 0, all);
        bytes.add(all.array());
      }
      return new Parts(Unsealed.metadata(shard.metadata()), shard.tensors(), bytes);
    } finally {
      Files.delete(file);
    }
  }

  /** Opens, and reads all that is changed. */
  private void read(Path file) throws IOException {
    try (PatchFile patch = PatchFile.open(file)) {
      Fingerprint.of(patch.patch().applyTo(model("new", DType.F32, 30)));
    }
  }

  private DynamicTest refused(String rule, String message, Parts parts) {
    return DynamicTest.dynamicTest(
        message,
        () -> {
          Path file = parts.save(dir.resolve("p.safetensors"));
          MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> read(file));
          assertEquals("[" + file + "] tensor '" + MATRIX + message + " (" + rule + ")", refusal.getMessage());
        });
  }

  @TestFactory
  Stream<DynamicTest> quantisedFilesThatLieAreRefused() throws IOException {
    Parts good = parts(Compression.Bits.of(4));
    read(good.save(dir.resolve("p.safetensors")));
    String codes = ": tensor '" + MATRIX + ".0.codes' must be U8 [1001, ";
    return Stream.of(
        refused(
            "PF-VALUES",
            ".0.scales' must be finite but number 3 is NaN",
            good.edit("scales", scales -> scales.putFloat(12, Float.NaN))),
        refused(
            "PF-VALUES",
            ".0.scales' must be finite but number 2001 is Infinity",
            good.edit("scales", scales -> scales.putFloat(4 * 2001, Float.POSITIVE_INFINITY))),
        refused("PF-SHAPE", "'" + codes + "129] but is U8 [1001, 65]", good.deltas("\"bits\":4", "\"bits\":8")),
        refused("PF-SHAPE", "'" + codes + "17] but is U8 [1001, 65]", good.deltas("\"bits\":4", "\"bits\":1")),
        refused("PF-SHAPE", "': bits must be 8, 4, 3, 2 or 1 but was 5", good.deltas("\"bits\":4", "\"bits\":5")),
        refused("PF-SHAPE", "': bits must be 8, 4, 3, 2 or 1 but was 2147483647", good.deltas("\"bits\":4", "\"bits\":4294967300")),
        refused(
            "PF-SHAPE",
            "': group must be 0, a multiple of 8 or at least a row but was 100",
            good.deltas("\"group\":128", "\"group\":100")),
        refused(
            "PF-SHAPE",
            "': tensor '" + MATRIX + ".0.scales' must be F32 [1, 1] but is F32 [1001, 2]",
            good.deltas("\"group\":128", "\"group\":0")),
        refused("PF-KIND", "' needs a whole number of 0 or more as group", good.deltas("\"group\":128", "\"group\":-8")),
        refused("PF-KIND", "' needs a whole number of 0 or more as group", good.deltas("\"group\":128", "\"group\":1e999")),
        refused("PF-KIND", "' needs a whole number of 0 or more as bits", good.deltas("\"bits\":4", "\"bits\":4.5")),
        refused("PF-KIND", "' needs a whole number of 0 or more as bits", good.deltas("\"bits\":4,", "")),
        refused("PF-SHAPE", "' has no shape", good.deltas("\"factor\":1.0,\"shape\":[1001,129]", "\"factor\":1.0")),
        refused("PF-KIND", "' has a change of the unknown kind 'quantized'", good.deltas("\"quantised\"", "\"quantized\"")));
  }

  @TestFactory
  Stream<DynamicTest> filesOfBandsThatLieAreRefused() throws IOException {
    Parts good = parts(BANDS);
    read(good.save(dir.resolve("p.safetensors")));
    String second = "\"rank\":7,\"bits\":3,\"group\":128";
    return Stream.of(
        refused(
            "PF-VALUES",
            ".1.lora_B.scales' must be finite but number 2 is NaN",
            good.edit(".1.lora_B.scales", scales -> scales.putFloat(8, Float.NaN))),
        refused(
            "PF-SHAPE",
            "': tensor '" + MATRIX + ".1.lora_A.codes' must be U8 [6, 49] but is U8 [7, 49]",
            good.deltas(second, second.replace("7", "6"))),
        refused("PF-SHAPE", "': bits must be 8, 4, 3, 2 or 1 but was 7", good.deltas(second, second.replace("3,", "7,"))),
        refused(
            "PF-SHAPE",
            "': tensor '" + MATRIX + ".1.lora_A.scales' must be F32 [7, 3] but is F32 [7, 2]",
            good.deltas(second, second.replace("128", "64"))),
        refused("PF-KIND", "' needs a whole number of 0 or more as rank", good.deltas("\"rank\":7,", "")),
        refused("PF-KIND", "' needs a finite number as scale", good.deltas("\"scale\":1.0,\"rank\":7", "\"scale\":\"1\",\"rank\":7")));
  }

  @TestFactory
  Stream<DynamicTest> sparseFilesThatLieAreRefused() throws IOException {
    Parts gaps = parts(Compression.Density.of(0.05));
    Parts bitmap = parts(Compression.Density.of(0.5));
    Parts few = parts(new Compression.Density(0.05, false, Optional.of(Compression.Bits.of(1))));
    for (Parts good : List.of(gaps, bitmap, few)) {
      read(good.save(dir.resolve("p.safetensors")));
    }
    String offsets =
        ".0.offsets' must rise from 0 to the numbers of values and of position bytes, within what a block can hold, but block ";
    int stored = gaps.tensors().stream().map(TensorInfo::name).toList().indexOf(MATRIX + ".0.offsets");
    ByteBuffer table = ByteBuffer.wrap(gaps.bytes().get(stored)).order(ByteOrder.LITTLE_ENDIAN);
    long values = table.getLong(16);
    long bytes = table.getLong(24);
    long allValues = table.getLong(64);
    long allBytes = table.getLong(72);
    String wrong = ".0.positions' must hold as many positions as there are values, within the tensor, but block ";
    String ofFirst = "0 of 32768 weights and " + values + " values does not";
    List<DynamicTest> tests = new ArrayList<>();
    for (long lie : new long[] {values + 1, -1, Long.MIN_VALUE, Long.MAX_VALUE, bytes + 1, allValues + 1}) {
      tests.add(
          refused(
              "PF-POSITIONS",
              offsets + "0 has values 0 to " + lie + " and bytes 0 to " + bytes,
              gaps.edit("offsets", all -> all.putLong(16, lie))));
    }
    for (long lie : new long[] {values - 1, values + 200, -1, Long.MIN_VALUE, Long.MAX_VALUE, allBytes + 1}) {
      tests.add(
          refused(
              "PF-POSITIONS",
              offsets + "0 has values 0 to " + values + " and bytes 0 to " + lie,
              gaps.edit("offsets", all -> all.putLong(24, lie))));
    }
    tests.add(refused("PF-POSITIONS", offsets + "0 has values 1 to " + values + " and bytes 0 to " + bytes,
        gaps.edit("offsets", all -> all.putLong(0, 1))));
    tests.add(refused("PF-POSITIONS", offsets + "0 has values 0 to " + values + " and bytes 1 to " + bytes,
        gaps.edit("offsets", all -> all.putLong(8, 1))));
    tests.add(refused("PF-POSITIONS", wrong + ofFirst, gaps.edit("positions", all -> all.put(5, (byte) 255))));
    tests.add(
        refused(
            "PF-POSITIONS",
            wrong + ofFirst,
            gaps.edit("positions", all -> {
              for (int i = 0; i < 200; i++) {
                all.put(i, (byte) 254);
              }
            })));
    tests.add(
        DynamicTest.dynamicTest(
            "a bit more or less in a bitmap is refused",
            () -> {
              for (int flip : new int[] {1, 128}) {
                Path file = bitmap.edit("positions", all -> all.put(77, (byte) (all.get(77) ^ flip))).save(dir.resolve("p.safetensors"));
                assertEquals("PF-POSITIONS", assertThrows(MalformedModelException.class, () -> read(file)).rule());
              }
              Path beyond =
                  bitmap.edit("positions", all -> all.put(all.limit() - 1, (byte) 0xff)).save(dir.resolve("p.safetensors"));
              assertEquals("PF-POSITIONS", assertThrows(MalformedModelException.class, () -> read(beyond)).rule());
            }));
    tests.add(refused("PF-KIND", "' has positions in the unknown coding 'runs'", gaps.deltas("\"gaps\"", "\"runs\"")));
    tests.add(
        refused(
            "PF-SHAPE",
            "': tensor '" + MATRIX + ".0.positions' must be U8 [16142] but is U8 [" + allBytes + "]",
            gaps.deltas("\"gaps\"", "\"bitmap\"")));
    tests.add(refused("PF-SHAPE", "': dimension must be >= 0 but was -5", few.edit("offsets", all -> all.putLong(all.limit() - 16, -5))));
    tests.add(
        refused(
            "PF-SHAPE",
            "': tensor '" + MATRIX + ".0.codes' must be U8 [1, 2] but is U8 [1, " + (allValues + 7) / 8 + "]",
            few.edit("offsets", all -> all.putLong(all.limit() - 16, 9))));
    return tests.stream();
  }

  @Test
  void aCompressedChangeThatIsReadBackIsOfItsKind() throws IOException {
    Compression compression = new Compression.Density(0.1, true, Optional.of(Compression.Bits.of(4)));
    try (PatchFile file = PatchFile.open(save(Compressor.of(compression).compress(patch(DType.BF16)).patch(), "p", 1))) {
      Delta.Sum sum = (Delta.Sum) file.patch().deltas().get(MATRIX);
      Delta.Sparse sparse = (Delta.Sparse) sum.terms().get(0).delta();
      assertTrue(sum.terms().get(0).factor() > 1);
      assertEquals(4, ((Delta.Quantised) sparse.values()).bits());
      assertTrue(file.patch().deltas().get("model.norm.weight") instanceof Delta.Dense);
    }
  }

  private static final String EXPERTS = "model.layers.0.mlp.experts.gate_up_proj";

  private static TestModel experts(String name, long seed) {
    return new TestModel(name).random(EXPERTS, DType.F32, seed, 0.1, 5, 24, 16);
  }

  private Path saveStack() throws IOException {
    Patch full = Patch.from(experts("tuned", 1), experts("base", 2));
    return save(LowRankExtraction.by(RankRule.rank(3)).of(full).patch(), "good", 1);
  }

  @Test
  void factorsOfAStackAreStoredAsFactors() throws IOException {
    Patch full = Patch.from(experts("tuned", 1), experts("base", 2));
    Patch patch = LowRankExtraction.by(RankRule.rank(3)).of(full).patch();
    Path written = saveStack();
    try (PatchFile file = PatchFile.open(written);
        ModelVersion stored = Checkpoints.open(written)) {
      assertEquals(
          Map.of(EXPERTS + ".0.lora_A", Shape.of(15, 16), EXPERTS + ".0.lora_B", Shape.of(15 * 24)),
          stored.tensors().stream().collect(Collectors.toMap(TensorInfo::name, TensorInfo::shape)));
      TestModel newBase = experts("new", 3);
      assertEquals(Fingerprint.of(patch.applyTo(newBase)), Fingerprint.of(file.patch().applyTo(newBase)));
      assertEquals(Fingerprint.of(patch.scaledBy(0.3).applyTo(newBase)), Fingerprint.of(file.patch().scaledBy(0.3).applyTo(newBase)));
      assertArrayEquals(Files.readAllBytes(written), Files.readAllBytes(save(file.patch(), "again", 2)));
      // Read back, it is a stack of factors still.
      assertEquals(0, LowRankExtraction.by(RankRule.rank(3)).of(file.patch()).relativeError());
    }
  }

  @TestFactory
  Stream<DynamicTest> stacksThatLieAreRefused() throws IOException {
    Parts good = partsOf(saveStack());
    String tensor = "[%s] tensor '" + EXPERTS + "'";
    return Stream.of(
            Map.entry(tensor + " needs ranks for each matrix of the stack [5, 24, 16] (PF-SHAPE)", good.deltas("[3,3,3,3,3]", "[3,3,3,3]")),
            Map.entry(tensor + " has a rank '-3' (PF-SHAPE)", good.deltas("[3,3,3,3,3]", "[3,3,-3,3,3]")),
            Map.entry(
                tensor + ": factors of [360] and [15, 16] do not make [5, 24, 16] by 16 ranks (PF-SHAPE)",
                good.deltas("[3,3,3,3,3]", "[3,3,4,3,3]")),
            Map.entry(tensor + " needs true or false as transposed (PF-KIND)", good.deltas("\"transposed\":false,", "")),
            Map.entry(
                tensor + ": factors of [360] and [15, 16] do not make [5, 24, 16] by 15 ranks (PF-SHAPE)",
                good.deltas("\"transposed\":false", "\"transposed\":true")))
        .map(
            lie ->
                DynamicTest.dynamicTest(
                    lie.getKey(),
                    () -> {
                      Path file = lie.getValue().save(dir.resolve("p.safetensors"));
                      MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
                      assertEquals(String.format(lie.getKey(), file), refusal.getMessage());
                    }));
  }
}
