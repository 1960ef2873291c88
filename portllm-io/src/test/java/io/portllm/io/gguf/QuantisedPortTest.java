package io.portllm.io.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.io.Requantisation;
import io.portllm.io.golden.Goldens;
import io.portllm.io.internal.gguf.layout.Hyperparameters;
import io.portllm.io.internal.gguf.lens.BlockSums;
import io.portllm.io.internal.gguf.lens.GgufLens;
import io.portllm.io.internal.gguf.lens.GgufStoredModel;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Patches on quantised tensors: values plus change, quantised again block by block, and bytes kept where nothing changes. */
class QuantisedPortTest {
  private static final String OUT = "blk.0.attn_output.weight";
  private static final String OUT_SOURCE = "model.layers.0.self_attn.o_proj.weight";
  private static final String QUERY = "blk.0.attn_q.weight";
  private static final String QUERY_SOURCE = "model.layers.0.self_attn.q_proj.weight";
  private static final int ROWS = 16;
  private static final int COLUMNS = 512;
  private static final int HEADS = 4;

  static Stream<DType> writable() {
    return Arrays.stream(DType.values())
        .filter(type -> type.isQuantised() && type != DType.Q8_1)
        .filter(type -> BlockCodecs.of(type).quantises());
  }

  @ParameterizedTest
  @MethodSource("writable")
  void changedBlocksAreValuesPlusChangeQuantisedOnce(DType type) throws IOException {
    float[] weights = random(1, 0.02f);
    float[] change = random(2, 0.01f);
    TestModel base = model(type, OUT, quantised(type, weights));
    ModelVersion ported = port(base, OUT_SOURCE, change, MergeOptions.defaults());
    float[] expected = values(type, base.bytes(OUT));
    for (int i = 0; i < expected.length; i++) {
      expected[i] += change[i];
    }
    assertArrayEquals(quantised(type, expected), bytes(ported, OUT));
  }

  @ParameterizedTest
  @MethodSource("writable")
  void rowsOfQueriesAreChangedWhereTheConversionPutThem(DType type) throws IOException {
    float[] change = random(3, 0.01f);
    TestModel base = model(type, QUERY, quantised(type, random(4, 0.02f)));
    ModelVersion ported = port(base, QUERY_SOURCE, change, MergeOptions.defaults());
    float[] expected = values(type, base.bytes(QUERY));
    int half = ROWS / HEADS / 2;
    for (int row = 0; row < ROWS; row++) {
      // The two halves of a head are interleaved: row 2i + j of a head was row j * half + i.
      int inHead = row % (2 * half);
      int source = row - inHead + inHead % 2 * half + inHead / 2;
      for (int i = 0; i < COLUMNS; i++) {
        expected[row * COLUMNS + i] += change[source * COLUMNS + i];
      }
    }
    assertArrayEquals(quantised(type, expected), bytes(ported, QUERY));
  }

  @ParameterizedTest
  @MethodSource("writable")
  void blocksWithoutChangeKeepBytesThatQuantisingWouldNotGive(DType type) throws IOException {
    byte[] blocks = quantised(type, random(5, 0.02f));
    int changed = 3;
    float[] change = new float[ROWS * COLUMNS];
    change[changed * type.blockElements() + 7] = 0.5f;
    // The highest bits of scales stay, so that no scale is infinite or NaN.
    Random random = new Random(6);
    for (int i = 0; i < blocks.length; i++) {
      blocks[i] ^= (byte) (random.nextInt(256) & 0x0f);
    }
    TestModel base = model(type, OUT, blocks);
    byte[] ported = bytes(port(base, OUT_SOURCE, change, MergeOptions.defaults()), OUT);
    // Of one bit and a scale, all blocks are such as quantising gives.
    assertEquals(type == DType.Q1_0, Arrays.equals(blocks, quantised(type, values(type, blocks))));
    for (int block = 0; block < blocks.length / type.blockBytes(); block++) {
      int from = block * type.blockBytes();
      boolean same = Arrays.equals(blocks, from, from + type.blockBytes(), ported, from, from + type.blockBytes());
      assertEquals(block != changed, same, "block " + block);
    }
  }

  @ParameterizedTest
  @MethodSource("writable")
  void anyRangeOfBytesIsThatOfTheWhole(DType type) throws IOException {
    TestModel base = model(type, QUERY, quantised(type, random(7, 0.02f)));
    ModelVersion ported = port(base, QUERY_SOURCE, random(8, 0.01f), MergeOptions.defaults());
    byte[] whole = bytes(ported, QUERY);
    Random random = new Random(9);
    for (int i = 0; i < 50; i++) {
      int from = random.nextInt(whole.length);
      int to = from + 1 + random.nextInt(whole.length - from);
      ByteBuffer part = ByteBuffer.allocate(to - from);
      ported.read(ported.find(QUERY).orElseThrow(), from, part);
      assertArrayEquals(Arrays.copyOfRange(whole, from, to), part.array());
    }
  }

  @ParameterizedTest
  @MethodSource("writable")
  void changesAreAddedToValuesByTheMergerOfTheOptions(DType type) throws IOException {
    TestModel base = model(type, QUERY, quantised(type, random(21, 0.02f)));
    float[] change = random(22, 0.01f);
    Set<DType> merged = ConcurrentHashMap.newKeySet();
    Merger merger = (chunk, operands) -> {
      merged.add(chunk.dtype());
      return Merger.scalar().merge(chunk, operands);
    };

    ModelVersion ported = port(base, QUERY_SOURCE, change, MergeOptions.defaults().withMerger(merger));

    assertArrayEquals(bytes(port(base, QUERY_SOURCE, change, MergeOptions.defaults()), QUERY), bytes(ported, QUERY));
    assertEquals(Set.of(DType.F32), merged);
  }

  @Test
  void untouchedTensorsOfTypesThatCannotBeWrittenAreCopied() throws IOException {
    byte[] blocks = new byte[ROWS * COLUMNS / 256 * DType.IQ1_S.blockBytes()];
    new Random(10).nextBytes(blocks);
    TestModel base = model(DType.IQ1_S, "blk.0.ffn_up.weight", blocks).tensor(OUT, DType.F32, f32(random(11, 1)), ROWS, COLUMNS);
    ModelVersion ported = port(base, OUT_SOURCE, random(12, 1), MergeOptions.defaults());
    assertArrayEquals(blocks, bytes(ported, "blk.0.ffn_up.weight"));
  }

  @Test
  void changesToTypesThatCannotBeWrittenAreRefusedByName() {
    TestModel base = model(DType.IQ2_XS, OUT, new byte[ROWS * COLUMNS / 256 * DType.IQ2_XS.blockBytes()]);
    float[] change = random(13, 1);
    IncompatibleModelException refusal =
        assertThrows(IncompatibleModelException.class, () -> port(base, OUT_SOURCE, change, MergeOptions.defaults()));
    assertEquals(1, refusal.mismatches().size());
    assertEquals(OUT, refusal.mismatches().get(0).tensor());
    assertTrue(refusal.getMessage().contains("is IQ2_XS, which cannot be written without an importance matrix"), refusal.getMessage());
  }

  @Test
  void raisedTensorsAreWrittenInTheOtherTypeAndTheRestIsCopied() throws IOException {
    byte[] blocks = new byte[ROWS * COLUMNS / 256 * DType.IQ2_XS.blockBytes()];
    new Random(14).nextBytes(blocks);
    for (int i = 0; i < blocks.length; i += DType.IQ2_XS.blockBytes()) {
      // A scale of 2^-8.
      blocks[i] = 0;
      blocks[i + 1] = 0x1c;
    }
    TestModel base = model(DType.IQ2_XS, OUT, blocks).tensor("blk.0.ffn_up.weight", DType.IQ2_XS, blocks, ROWS, COLUMNS);
    float[] change = random(15, 0.01f);
    ModelVersion ported = port(base, OUT_SOURCE, change, MergeOptions.defaults().raisingTo(DType.Q8_0));
    assertEquals(new TensorInfo(OUT, DType.Q8_0, Shape.of(ROWS, COLUMNS)), ported.find(OUT).orElseThrow());
    assertEquals(DType.IQ2_XS, ported.find("blk.0.ffn_up.weight").orElseThrow().dtype());
    float[] expected = values(DType.IQ2_XS, blocks);
    for (int i = 0; i < expected.length; i++) {
      expected[i] += change[i];
    }
    assertArrayEquals(quantised(DType.Q8_0, expected), bytes(ported, OUT));
    assertArrayEquals(blocks, bytes(ported, "blk.0.ffn_up.weight"));
    // Blocks of the type that is read are longer than those that are written.
    ByteBuffer part = ByteBuffer.allocate(3 * DType.Q8_0.blockBytes());
    ported.read(ported.find(OUT).orElseThrow(), 5 * DType.Q8_0.blockBytes(), part);
    assertArrayEquals(Arrays.copyOfRange(bytes(ported, OUT), 5 * 34, 8 * 34), part.array());
  }

  @Test
  void tensorsCanBeRaisedToTypesOfSingleElements() throws IOException {
    byte[] blocks = new byte[ROWS * COLUMNS / 256 * DType.IQ1_S.blockBytes()];
    TestModel base = model(DType.IQ1_S, OUT, blocks);
    float[] change = random(16, 1);
    ModelVersion ported = port(base, OUT_SOURCE, change, MergeOptions.defaults().raisingTo(DType.F32));
    assertArrayEquals(f32(change), bytes(ported, OUT));
  }

  @Test
  void weightsBeyondTheScalesOfTheTypeAreRefusedUnlessAllowed() throws IOException {
    TestModel base = model(DType.Q4_0, OUT, quantised(DType.Q4_0, random(17, 1)));
    float[] change = new float[ROWS * COLUMNS];
    change[40] = 1e7f;
    ModelVersion ported = port(base, OUT_SOURCE, change, MergeOptions.defaults());
    IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> bytes(ported, OUT));
    assertEquals(Optional.of(Allow.OVERFLOW), refusal.mismatches().get(0).allowedBy());
    ModelVersion allowed = port(base, OUT_SOURCE, change, MergeOptions.defaults().allow(Allow.OVERFLOW));
    assertEquals(32, measured(allowed, OUT).rounding().overflowed());
  }

  @Test
  void whatQuantisingAgainLosesIsMeasured() throws IOException {
    TestModel base = model(DType.Q8_0, OUT, quantised(DType.Q8_0, random(18, 0.02f)));
    float[] change = random(19, 0.02f);
    Arrays.fill(change, 0, 64, 0);
    ModelVersion ported = port(base, OUT_SOURCE, change, MergeOptions.defaults());
    GgufStoredModel.Outcome outcome = measured(ported, OUT);
    Requantisation found = BlockSums.total(List.of(outcome.sums().orElseThrow()));
    float[] before = values(DType.Q8_0, base.bytes(OUT));
    float[] after = values(DType.Q8_0, bytes(ported, OUT));
    double changes = 0;
    double errors = 0;
    double overlap = 0;
    for (int i = 0; i < change.length; i++) {
      double exact = (double) (before[i] + change[i]) - before[i];
      double stored = (double) after[i] - before[i];
      changes += exact * exact;
      errors += (stored - exact) * (stored - exact);
      overlap += stored * exact;
    }
    assertEquals(Math.sqrt(changes), found.changeNorm(), 1e-9 * Math.sqrt(changes));
    assertEquals(Math.sqrt(errors), found.errorNorm(), 1e-9 * Math.sqrt(errors));
    assertEquals(overlap / changes, found.kept(), 1e-9);
    assertEquals(ROWS * COLUMNS / 32, found.blocks());
    assertEquals(found.blocks() - 2, found.changedBlocks());
    assertEquals(ROWS * COLUMNS - 64, outcome.rounding().touched());
  }

  @Test
  void changesThatAreLostInTheStepsOfTheTypeAreCounted() throws IOException {
    TestModel base = model(DType.Q4_0, OUT, quantised(DType.Q4_0, random(20, 0.02f)));
    float[] change = new float[ROWS * COLUMNS];
    float[] before = values(DType.Q4_0, base.bytes(OUT));
    for (int i = 0; i < change.length; i++) {
      // Values at the edge, which set the scale, stay.
      change[i] = Math.abs(before[i]) < 0.01 ? 1e-6f : 0;
    }
    GgufStoredModel.Outcome outcome = measured(port(base, OUT_SOURCE, change, MergeOptions.defaults()), OUT);
    Requantisation found = BlockSums.total(List.of(outcome.sums().orElseThrow()));
    assertTrue(outcome.rounding().touched() > 100);
    assertEquals(outcome.rounding().touched(), outcome.rounding().vanished());
    assertEquals(0, found.changedBlocks());
    assertEquals(0, found.kept(), 1e-9);
    assertEquals(1, found.relativeError(), 1e-9);
  }

  @Test
  void aPortedModelCanBePatchedAgain() throws IOException {
    TestModel base = model(DType.Q5_1, OUT, quantised(DType.Q5_1, random(21, 0.02f)));
    float[] first = random(22, 0.01f);
    float[] second = random(23, 0.01f);
    ModelVersion once = port(base, OUT_SOURCE, first, MergeOptions.defaults());
    TestModel written = model(DType.Q5_1, OUT, bytes(once, OUT));
    assertArrayEquals(
        bytes(port(written, OUT_SOURCE, second, MergeOptions.defaults()), OUT),
        bytes(patch(OUT_SOURCE, second).applyTo(once), OUT));
  }

  private static GgufStoredModel.Outcome measured(ModelVersion ported, String tensor) throws IOException {
    TensorInfo info = ported.find(tensor).orElseThrow();
    return ((GgufStoredModel) ported).readMeasuring(info, 0, ByteBuffer.allocate((int) info.bytes()));
  }

  private static TestModel model(DType type, String tensor, byte[] blocks) {
    return new TestModel("base.gguf").shard("base.gguf", Map.of()).tensor(tensor, type, blocks, ROWS, COLUMNS);
  }

  private static ModelVersion port(TestModel base, String source, float[] change, MergeOptions options) {
    Hyperparameters llama = new Hyperparameters("llama", List.of((long) HEADS), List.of((long) HEADS));
    return new GgufLens(base, llama).patched(patch(source, change), options);
  }

  private static Patch patch(String source, float[] change) {
    Delta delta = new Delta.Dense(OneTensor.of(source, Shape.of(ROWS, COLUMNS), change));
    return Patch.of(Map.of(source, delta), Optional.empty(), "test");
  }

  private static byte[] bytes(ModelVersion model, String tensor) throws IOException {
    return Goldens.bytes(model, model.find(tensor).orElseThrow()).array();
  }

  private static float[] random(long seed, float size) {
    Random random = new Random(seed);
    float[] values = new float[ROWS * COLUMNS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() * size;
    }
    return values;
  }

  private static byte[] f32(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes.array();
  }

  private static byte[] quantised(DType type, float[] values) {
    BlockCodec codec = BlockCodecs.of(type);
    ByteBuffer blocks = ByteBuffer.allocate(values.length / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    codec.quantise(values, 0, values.length, blocks, 0);
    return blocks.array();
  }

  private static float[] values(DType type, byte[] blocks) {
    float[] values = new float[blocks.length / type.blockBytes() * type.blockElements()];
    BlockCodecs.of(type).dequantise(ByteBuffer.wrap(blocks).order(ByteOrder.LITTLE_ENDIAN), 0, values, 0, values.length);
    return values;
  }
}
