package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.io.Requantisation;
import io.portllm.io.internal.gguf.layout.Hyperparameters;
import io.portllm.io.internal.gguf.lens.BlockSums;
import io.portllm.io.internal.gguf.lens.GgufLens;
import io.portllm.io.internal.gguf.lens.GgufStoredModel;
import io.portllm.io.write.TestModel;
import io.portllm.portability.Finding;
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Storage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What portability reports tell of quantised new bases: what storing a patch in them would do. */
class StorageReportTest {
  private static final String OUT = "blk.0.attn_output.weight";
  private static final String OUT_SOURCE = "model.layers.0.self_attn.o_proj.weight";
  private static final int COLUMNS = 512;

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q5_1", "Q4_0", "Q4_K", "Q6_K"})
  void aSmallTensorIsStoredWhole(DType type) throws IOException {
    float[] change = random(2, 16, 0.002f);
    // Blocks without a change.
    Arrays.fill(change, 0, 4 * COLUMNS, 0);
    ModelVersion base = base(type, random(1, 16, 0.02f));

    Storage found = patch(change).checkAgainst(base).storage().orElseThrow();

    GgufStoredModel.Outcome outcome = stored(base, change);
    Requantisation expected = BlockSums.total(List.of(outcome.sums().orElseThrow()));
    assertEquals(List.of(type), found.types());
    assertEquals(16 * COLUMNS, found.weights());
    assertEquals(16 * COLUMNS, found.sampled());
    assertEquals(outcome.rounding(), found.rounding());
    assertEquals(12 * COLUMNS, found.rounding().touched());
    assertEquals(expected.blocks(), found.quantised().blocks());
    assertEquals(expected.blocks() - expected.changedBlocks(), found.quantised().unchanged());
    assertTrue(found.quantised().unchanged() >= found.quantised().blocks() / 4);
    assertEquals(expected.kept(), found.quantised().kept(), 1e-12);
    assertEquals(expected.relativeError(), found.quantised().error(), 1e-12);
  }

  @Test
  void ofALargeTensorASampleIsStored() throws IOException {
    float[] change = random(4, 128, 0.01f);
    ModelVersion base = base(DType.Q4_0, random(3, 128, 0.02f));

    Storage found = patch(change).checkAgainst(base).storage().orElseThrow();

    GgufStoredModel.Outcome whole = stored(base, change);
    Requantisation expected = BlockSums.total(List.of(whole.sums().orElseThrow()));
    assertEquals(128 * COLUMNS, found.weights());
    assertEquals(16 * 1024, found.sampled());
    assertEquals(16 * 1024 / 32, found.quantised().blocks());
    assertEquals(
        (double) whole.rounding().vanished() / whole.rounding().touched(),
        (double) found.rounding().vanished() / found.rounding().touched(),
        0.02);
    assertEquals(expected.kept(), found.quantised().kept(), 0.02);
    assertEquals(expected.relativeError(), found.quantised().error(), 0.05);
    assertEquals(found, PortabilityCheck.defaults().withThreads(3).check(patch(change), base).storage().orElseThrow());
  }

  @Test
  void aPatchThatIsLostAmongTheStepsIsWarnedOf() throws IOException {
    float[] weights = random(5, 16, 0.02f);
    PortabilityReport small = patch(random(6, 16, 1e-5f)).checkAgainst(base(DType.Q4_0, weights));
    PortabilityReport large = patch(random(6, 16, 0.02f)).checkAgainst(base(DType.Q8_0, weights));

    assertTrue(warnings(small).contains("Q4_0"), small::toString);
    assertTrue(small.toString().contains("of the blocks keep their bytes"), small::toString);
    assertFalse(warnings(large).contains("Q8_0"), large::toString);
  }

  @Test
  void aTypeThatCannotBeWrittenBlocks() throws IOException {
    TensorInfo info = new TensorInfo(OUT, DType.IQ1_S, Shape.of(16, COLUMNS));
    TestModel file = new TestModel("base.gguf").shard("base.gguf", Map.of())
        .tensor(OUT, DType.IQ1_S, new byte[(int) info.bytes()], 16, COLUMNS)
        .tensor("output_norm.weight", DType.F32, new byte[4 * COLUMNS], COLUMNS);
    ModelVersion base = lens(file).patched(Patch.of(Map.of(), Optional.empty(), "nothing"), MergeOptions.defaults());

    PortabilityReport report = patch(random(6, 16, 0.02f)).checkAgainst(base);

    assertTrue(report.storage().isEmpty());
    assertEquals(Finding.Severity.BLOCKING, report.findings().get(0).severity());
    assertTrue(report.findings().get(0).what().contains("IQ1_S"), report.findings()::toString);
  }

  private static String warnings(PortabilityReport report) {
    return report.findings().stream()
        .filter(finding -> finding.severity() == Finding.Severity.WARNING)
        .map(Finding::what)
        .toList()
        .toString();
  }

  private static GgufLens lens(ModelVersion file) {
    return new GgufLens(file, new Hyperparameters("llama", List.of(4L), List.of(4L)));
  }

  /** A patched version, since only those and opened files know that they are GGUF; the patch is empty. */
  private static ModelVersion base(DType type, float[] weights) {
    ByteBuffer blocks = ByteBuffer.allocate(weights.length / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    BlockCodecs.of(type).quantise(weights, 0, weights.length, blocks, 0);
    TestModel file =
        new TestModel("base.gguf").shard("base.gguf", Map.of()).tensor(OUT, type, blocks.array(), weights.length / COLUMNS, COLUMNS);
    return lens(file).patched(Patch.of(Map.of(), Optional.empty(), "nothing"), MergeOptions.defaults());
  }

  private static GgufStoredModel.Outcome stored(ModelVersion base, float[] change) throws IOException {
    ModelVersion ported = patch(change).applyTo(base);
    TensorInfo info = ported.find(OUT).orElseThrow();
    return ((GgufStoredModel) ported).readMeasuring(info, 0, ByteBuffer.allocate((int) info.bytes()));
  }

  private static Patch patch(float[] change) {
    Delta delta = new Delta.Dense(OneTensor.of(OUT_SOURCE, Shape.of(change.length / COLUMNS, COLUMNS), change));
    return Patch.of(Map.of(OUT_SOURCE, delta), Optional.empty(), "test");
  }

  private static float[] random(long seed, int rows, float size) {
    Random random = new Random(seed);
    float[] values = new float[rows * COLUMNS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() * size;
    }
    return values;
  }
}
