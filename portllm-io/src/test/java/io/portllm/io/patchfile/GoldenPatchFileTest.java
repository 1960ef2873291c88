package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.BasePolicy;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.MergeOptions;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.compress.Compression;
import io.portllm.compress.Compression.Band;
import io.portllm.compress.Compression.Bands;
import io.portllm.compress.Compression.Bits;
import io.portllm.compress.Compression.Density;
import io.portllm.compress.Compressor;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A patch file of version 1, from before there were seals, with every kind of change but exact ones, which
 * {@code exact.patch.safetensors} holds. It must be read, and mean the same, for good; when the writer changes, another file is added
 * beside it. {@link #main} wrote it.
 */
class GoldenPatchFileTest {
  private static final String DIGEST = "82ec046fffd2d9f59e30a59780a5ae09435c0990a796e3238efbd203792a3fd2";

  @TempDir Path dir;

  /** Writes the file: {@code java … GoldenPatchFileTest FILE}. */
  public static void main(String[] arguments) throws IOException {
    write(Path.of(arguments[0]), Files.createTempDirectory("golden"));
  }

  private static TestModel model(String name, long seed) {
    TestModel model = new TestModel(name);
    for (String tensor : List.of("dense", "low-rank", "eight", "four", "three", "two", "one", "gaps", "bitmap", "few", "bands", "ia3")) {
      model.random(tensor + ".weight", DType.BF16, seed + tensor.hashCode(), 0.05, 24, 16);
    }
    return model
        .random("rows.weight", DType.BF16, seed + 1, 0.05, 24, 16)
        .random("replaced.weight", DType.BF16, seed + 2, 0.05, 24, 16)
        .random("replaced-rows.weight", DType.BF16, seed + 3, 0.05, 24, 16)
        .random("experts.down_proj", DType.BF16, seed + 4, 0.05, 3, 12, 8)
        .random("ia3.bias", DType.BF16, seed + 5, 0.05, 24);
  }

  private static Patch of(String tensor, Delta delta) {
    return Patch.of(Map.of(tensor, delta), Optional.empty(), tensor);
  }

  private static Tensor random(DType type, long seed, long... shape) {
    return new TestModel("values").random("t", type, seed, 0.05, shape).tensor("t").orElseThrow();
  }

  private static Delta product(long seed, boolean transposed, long out, long in) {
    Shape shape = transposed ? Shape.of(in, out) : Shape.of(out, in);
    return new Delta.LowRank(random(DType.F32, seed, out, 3), random(DType.F16, seed + 1, 3, in), 2.5, transposed, shape);
  }

  private static void write(Path file, Path scratch) throws IOException {
    TestModel tuned = model("tuned", 100);
    TestModel base = model("base", 200);
    Patch full = Patch.from(tuned, base);
    Patch patch = full.only("dense.weight").scaledBy(0.5);
    Shape shape = Shape.of(24, 16);
    patch = patch.plus(of("low-rank.weight", product(1, false, 24, 16)));
    patch = patch.plus(of("low-rank.weight", product(3, true, 16, 24)).scaledBy(-0.25));
    Delta rows = new Delta.Rows(ImmutableLongArray.of(5, 2), random(DType.F32, 5, 2, 16), Optional.empty(), shape);
    patch = patch.plus(of("rows.weight", rows));
    patch = patch.plus(of("replaced.weight", new Delta.Replacement(random(DType.BF16, 6, 24, 16))));
    Delta newRow = new Delta.RowReplacement(ImmutableLongArray.of(7), random(DType.F32, 7, 1, 16), shape);
    patch = patch.plus(of("replaced-rows.weight", newRow));
    patch = patch.plus(LowRankExtraction.by(RankRule.rank(2)).of(full.only("experts.down_proj")).patch());
    Map<String, Compression> compressions = new TreeMap<>();
    compressions.put("eight", Bits.of(8));
    compressions.put("four", new Bits(4, 8));
    compressions.put("three", Bits.of(3));
    compressions.put("two", new Bits(2, Bits.ROW));
    compressions.put("one", Bits.of(1));
    compressions.put("gaps", Density.of(0.05));
    compressions.put("bitmap", Density.of(0.5));
    compressions.put("few", new Density(0.3, true, Optional.of(Bits.of(4))));
    compressions.put("bands", Bands.of(new Band(1, 8), new Band(2, 3), new Band(4, 2)));
    for (Map.Entry<String, Compression> entry : compressions.entrySet()) {
      patch = patch.plus(Compressor.of(entry.getValue()).compress(full.only(entry.getKey() + ".weight")).patch());
    }
    Files.writeString(scratch.resolve("adapter_config.json"), "{\"peft_type\":\"IA3\",\"feedforward_modules\":[]}");
    new TestModel("adapter")
        .random("base_model.model.ia3.ia3_l", DType.F32, 8, 1, 24, 1)
        .saveFile(scratch.resolve("adapter_model.safetensors"));
    try (PeftAdapter adapter = PeftAdapter.open(scratch)) {
      Patch anew = Patch.from(adapter, base, MergeOptions.defaults().withBasePolicy(BasePolicy.EVALUATE_ANEW));
      Patch every = Patch.of(patch.plus(anew).deltas(), full.base(), "every kind");
      // The file is older than sketches.
      PatchFile.write(every, file, WriteOptions.defaults().withoutSketches());
    }
  }

  private static Path golden() {
    try {
      return Path.of(GoldenPatchFileTest.class.getResource("/golden/kinds.patch.safetensors").toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void anOldFileMeansWhatItMeant() throws IOException {
    try (PatchFile file = PatchFile.open(golden())) {
      assertEquals(17, file.patch().deltas().size());
      assertEquals("every kind", file.patch().recipe());
      assertEquals(DIGEST, Fingerprint.of(file.patch().applyTo(model("new", 300))).digest());
    }
  }

  @Test
  void theSamePatchIsWrittenInTheSameBytes() throws IOException {
    Path file = dir.resolve("p.patch.safetensors");
    write(file, Files.createDirectory(dir.resolve("adapter")));
    assertArrayEquals(Files.readAllBytes(golden()), Unsealed.bytes(file));
  }

  @Test
  void whatIsReadIsWrittenInTheSameBytes() throws IOException {
    Path copy = dir.resolve("copy.patch.safetensors");
    try (PatchFile file = PatchFile.open(golden())) {
      PatchFile.write(file.patch(), copy);
    }
    assertArrayEquals(Files.readAllBytes(golden()), Unsealed.bytes(copy));
  }
}
