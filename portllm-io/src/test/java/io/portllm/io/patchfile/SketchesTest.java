package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.DType;
import io.portllm.Patch;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.write.TestModel;
import io.portllm.portability.BaseSketch;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.PortabilityReport.Evidence;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a patch file keeps of its base. */
class SketchesTest {
  @TempDir private Path dir;

  private static TestModel model(String name, double matrix, double norm) {
    return new TestModel(name).random("m.weight", DType.F32, 1, matrix, 48, 64).random("norm.weight", DType.BF16, 2, norm, 64);
  }

  /** The same weights times a number: drift is what the number is off from one. */
  private static final TestModel BASE = model("base", 1, 1);

  private static final TestModel TUNED =
      new TestModel("tuned").random("m.weight", DType.F32, 9, 1, 48, 64).random("norm.weight", DType.BF16, 2, 1, 64);

  private Path write(Patch patch, String name) throws IOException {
    PatchFile.write(patch, dir.resolve(name));
    return dir.resolve(name);
  }

  private static TensorReport.Update drift(Path file) throws IOException {
    try (PatchFile opened = PatchFile.open(file)) {
      PortabilityReport report = opened.patch().checkAgainst(model("new", 1.125, 1));
      assertEquals(Evidence.SKETCHES, report.evidence());
      return report.patched().update().orElseThrow();
    }
  }

  @Test
  void everyTensorHasOneAndChangedOnesHaveProducts() throws IOException {
    try (PatchFile file = PatchFile.open(write(Patch.from(TUNED, BASE), "p.safetensors"))) {
      BaseSketch sketch = file.patch().base().orElseThrow().sketch().orElseThrow();

      assertEquals(Set.of("m.weight", "norm.weight"), sketch.tensors().keySet());
      assertTrue(sketch.tensors().get("m.weight").hasProducts());
      assertEquals(TensorSketch.WEIGHTS, sketch.tensors().get("norm.weight").weights().length());
    }
  }

  /** Numbers by the definition in docs/reference/patch-file.md. */
  private static long bits(long role, long i) {
    long z = i + role * 0x9E3779B97F4A7C15L;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /** A count sketch: a row for each of {@code buckets}. */
  private static double[][] countSketch(long role, int buckets, int count) {
    double[][] sketch = new double[buckets][count];
    for (int i = 0; i < count; i++) {
      long random = bits(role, i);
      sketch[(int) (random & (buckets - 1))][i] = random < 0 ? -1 : 1;
    }
    return sketch;
  }

  private static double[][] times(double[][] one, double[][] other) {
    double[][] product = new double[one.length][other[0].length];
    for (int i = 0; i < one.length; i++) {
      for (int k = 0; k < other.length; k++) {
        for (int j = 0; j < other[0].length; j++) {
          product[i][j] += one[i][k] * other[k][j];
        }
      }
    }
    return product;
  }

  private static double[][] transposed(double[][] matrix) {
    double[][] turned = new double[matrix[0].length][matrix.length];
    for (int i = 0; i < matrix.length; i++) {
      for (int j = 0; j < matrix[0].length; j++) {
        turned[j][i] = matrix[i][j];
      }
    }
    return turned;
  }

  private static double[][] matrix(TestModel model) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(4 * 48 * 64).order(ByteOrder.LITTLE_ENDIAN);
    model.read(model.find("m.weight").orElseThrow(), 0, bytes);
    double[][] values = new double[48][64];
    for (int i = 0; i < 48 * 64; i++) {
      values[i / 64][i % 64] = bytes.getFloat(4 * i);
    }
    return values;
  }

  private static void assertClose(double[][] expected, ImmutableDoubleArray found) {
    double[] flat = Arrays.stream(expected).flatMapToDouble(Arrays::stream).toArray();
    assertArrayEquals(flat, found.toArray(), 1e-4);
  }

  @Test
  void valuesAreTheProductsThatTheFormatSays() throws IOException {
    double[][] base = matrix(BASE);
    double[][] tuned = matrix(TUNED);
    double[][] change = new double[48][64];
    for (int i = 0; i < 48; i++) {
      for (int j = 0; j < 64; j++) {
        change[i][j] = (float) tuned[i][j] - (float) base[i][j];
      }
    }
    double[][] rows = countSketch(1, TensorSketch.SIDE, 48);
    double[][] columns = transposed(countSketch(2, TensorSketch.SIDE, 64));
    double[][] changeRows = times(countSketch(3, TensorSketch.WIDTH, 48), change);
    double[][] changeColumns = times(change, transposed(countSketch(4, TensorSketch.WIDTH, 64)));
    try (PatchFile file = PatchFile.open(write(Patch.from(TUNED, BASE), "p.safetensors"))) {
      TensorSketch sketch = file.patch().base().orElseThrow().sketch().orElseThrow().tensors().get("m.weight");

      assertClose(times(times(rows, base), columns), sketch.weights());
      assertClose(times(times(rows, base), transposed(changeRows)), sketch.input());
      assertClose(times(times(transposed(changeColumns), base), columns), sketch.output());
    }
  }

  @Test
  void aMultipleOfTheBaseHasTheDriftThatItIsOff() throws IOException {
    // The sketch of a multiple is that multiple of the sketch, so only its own norm is an estimate.
    TensorReport.Update update = drift(write(Patch.from(TUNED, BASE), "p.safetensors"));

    assertEquals(0.125, update.drift(), 0.125 * 0.1);
    assertTrue(update.estimated());
  }

  @Test
  void scaledPatchesKeepTheirProductsAndSumsLoseThem() throws IOException {
    Path file = write(Patch.from(TUNED, BASE), "p.safetensors");
    try (PatchFile opened = PatchFile.open(file)) {
      Patch patch = opened.patch();
      TestModel newBase = model("new", 1.125, 1);
      TensorReport.Meeting whole = patch.checkAgainst(newBase).patched().meeting().orElseThrow();
      TensorReport.Meeting half = patch.scaledBy(-0.5).checkAgainst(newBase).patched().meeting().orElseThrow();
      TestModel other = new TestModel("tuned").random("m.weight", DType.F32, 8, 1, 48, 64).random("norm.weight", DType.BF16, 2, 1, 64);
      Patch sum = patch.plus(Patch.from(other, BASE));

      assertEquals(whole.inputDrift().orElseThrow(), half.inputDrift().orElseThrow(), 1e-6);
      assertEquals(0.125, whole.outputDrift().orElseThrow(), 1e-6);
      assertEquals(whole.ratio() / 2, half.ratio(), 1e-6 * whole.ratio());
      assertEquals(-whole.cosine(), half.cosine(), 1e-6);
      assertTrue(sum.base().isPresent());
      assertTrue(sum.checkAgainst(newBase).patched().meeting().orElseThrow().inputDrift().isEmpty());
    }
  }

  @Test
  void aPatchFileWrittenAgainKeepsThem() throws IOException {
    Path first = write(Patch.from(TUNED, BASE), "first.safetensors");
    Path second = dir.resolve("second.safetensors");
    try (PatchFile opened = PatchFile.open(first)) {
      PatchFile.write(opened.patch(), second);
    }
    assertArrayEquals(Files.readAllBytes(first), Files.readAllBytes(second));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void theyDoNotDependOnThreads(int threads) throws IOException {
    Path first = write(Patch.from(TUNED, BASE), "first.safetensors");
    Path second = dir.resolve("second.safetensors");
    PatchFile.write(Patch.from(TUNED, BASE), second, WriteOptions.defaults().withThreads(threads));
    assertArrayEquals(Files.readAllBytes(first), Files.readAllBytes(second));
  }

  @Test
  void exactPatchesAndThoseWithoutABaseHaveNone() throws IOException {
    for (Patch patch : new Patch[] {Patch.exact(TUNED, BASE), Patch.of(Patch.from(TUNED, BASE).deltas(), Optional.empty(), "bare")}) {
      Files.deleteIfExists(dir.resolve("p.safetensors"));
      try (PatchFile file = PatchFile.open(write(patch, "p.safetensors"))) {
        assertTrue(file.patch().base().flatMap(base -> base.sketch()).isEmpty());
      }
    }
  }

  @Test
  void weightsAtTheEndOfTheRangeHaveNone() throws IOException {
    TestModel huge = new TestModel("huge").tensor("m.weight", DType.F32, TestModel.encode(DType.F32, 3e38, 3e38, 3e38), 3);
    TestModel tuned = new TestModel("tuned").tensor("m.weight", DType.F32, TestModel.encode(DType.F32, 3e38, 3e38, 2e38), 3);
    try (PatchFile file = PatchFile.open(write(Patch.from(tuned, huge), "p.safetensors"))) {
      assertTrue(file.patch().base().orElseThrow().sketch().isEmpty());
    }
  }

  /** A patch file with some of its metadata's text replaced by text of the same length. */
  private void assertRefused(String from, String to, String message) throws IOException {
    Path file = dir.resolve("broken.safetensors");
    byte[] bytes = Unsealed.bytes(write(Patch.from(TUNED, BASE), "p" + Math.abs(to.hashCode()) + ".safetensors"));
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    assertEquals(from.length(), to.length());
    assertTrue(text.contains(from), text.substring(0, 2000));
    Files.write(file, text.replace(from, to).getBytes(StandardCharsets.ISO_8859_1));
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
    assertEquals("PF-SKETCH", refusal.rule());
    assertTrue(refusal.getMessage().contains(message), refusal.getMessage());
  }

  @Test
  void sketchesThatLieAreRefused() throws IOException {
    assertRefused("{\\\"m.weight\\\":true,", "{\\\"x.weight\\\":true,", "'x.weight' must be one of the base's");
    assertRefused("{\\\"m.weight\\\":true,", "{\\\"m.weight\\\":1234,", "true or false");
    // "norm.weight" is a vector: without products. With them, there would have to be more values.
    assertRefused("\\\"norm.weight\\\":false}", "\\\"norm.weight\\\":true }", "must be F32 [4130]");
    assertRefused("portllm.base.sketches\":{\"dtype", "portllm.base.sketcher\":{\"dtype", "are missing");
  }

  @Test
  void sketchesThatAreNoNumbersAreRefused() throws IOException {
    Path file = write(Patch.from(TUNED, BASE), "p.safetensors");
    byte[] bytes = Unsealed.bytes(file);
    // The values come last: no tensor of bytes is in this file, and names are sorted.
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(bytes.length - 4, Float.NaN);
    Files.write(file, bytes);
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
    assertEquals("PF-SKETCH", refusal.rule());
  }
}
