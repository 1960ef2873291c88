package io.portllm.compress;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.compress.Compression.Band;
import io.portllm.compress.Compression.Bands;
import io.portllm.compress.Compression.Bits;
import io.portllm.compress.Compression.Density;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Compressed changes have the bits of the formulas, and the error stated is the error there is. */
class CompressorTest {
  private static final String NAME = "model.layers.0.mlp.up_proj.weight";

  /** Changes of mixed sizes, some of them zero and some equal. */
  private static float[] changes(int count, long seed) {
    Random random = new Random(seed);
    float[] changes = new float[count];
    for (int i = 0; i < count; i++) {
      double value = random.nextGaussian() * Math.pow(10, -2 - random.nextInt(3));
      changes[i] = random.nextInt(20) == 0 ? 0 : random.nextInt(10) == 0 ? 0.01f : (float) value;
    }
    return changes;
  }

  private static double[] wide(float[] values) {
    double[] wide = new double[values.length];
    Arrays.setAll(wide, i -> values[i]);
    return wide;
  }

  private static Patch patch(String name, Shape shape, float[] changes) {
    return Patch.of(Map.of(name, new Delta.Dense(MemoryModel.tensor(DType.F32, shape, wide(changes)))), Optional.empty(), "hand-made");
  }

  /** The patch added to zeros. */
  private static float[] applied(Patch patch, String name, Shape shape) throws IOException {
    ModelVersion zeros = MemoryModel.named("zeros").f32(name, shape, new double[(int) shape.elements()]).build();
    return floats(MemoryModel.bytes(patch.applyTo(zeros), name));
  }

  private static float[] floats(byte[] bytes) {
    float[] values = new float[bytes.length / 4];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  private static byte[] bytes(Tensor tensor) throws IOException {
    return MemoryModel.bytes(tensor.version(), tensor.info().name());
  }

  /** A change of −0 leaves the zeros of the base as they are. */
  private static float[] withoutSignOfZero(float[] values) {
    float[] plain = values.clone();
    for (int i = 0; i < plain.length; i++) {
      plain[i] = plain[i] == 0 ? 0 : plain[i];
    }
    return plain;
  }

  static Stream<Shape> shapes() {
    return Stream.of(
        Shape.of(1, 1), Shape.of(5, 7), Shape.of(3, 128), Shape.of(129, 130), Shape.of(700, 64), Shape.of(6, 5, 4), Shape.of(2, 70_001),
            Shape.of(70_001, 2), Shape.of(8, 8192));
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void codesAndScalesHaveTheBitsOfTheFormula(Shape shape) throws IOException {
    float[] changes = changes((int) shape.elements(), shape.hashCode());
    int rows = (int) shape.rows();
    int columns = (int) shape.columns();
    for (int bits : new int[] {8, 4, 3, 2, 1}) {
      for (long group : new long[] {8, 64, 128, Bits.ROW, Bits.MATRIX}) {
        Compressed compressed = Compressor.of(new Bits(bits, group)).compress(patch(NAME, shape, changes));
        Delta.Quantised delta = assertInstanceOf(Delta.Quantised.class, compressed.patch().deltas().get(NAME));
        NaiveCompression.Quantised expected = NaiveCompression.quantise(changes, rows, columns, bits, group);
        String what = shape + " in " + bits + " bits by " + group;
        assertArrayEquals(expected.codes(), bytes(delta.codes()), what);
        if (group == Bits.MATRIX) {
          // The sum over a matrix is taken block by block, so it may differ from the plain one in the last places.
          float[] scales = floats(bytes(delta.scales()));
          assertEquals(1, scales.length);
          assertEquals(expected.scales()[0], scales[0], bits < 4 ? 1e-6f * scales[0] : 0, what);
        } else {
          assertArrayEquals(expected.scales(), floats(bytes(delta.scales())), what);
          assertArrayEquals(withoutSignOfZero(expected.values()), applied(compressed.patch(), NAME, shape), what);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"0.001", "0.02", "0.05", "0.12", "0.3", "0.77", "1"})
  void theLargestChangesAreKeptAsTheyAre(double density) throws IOException {
    for (Shape shape : shapes().toList()) {
      float[] changes = changes((int) shape.elements(), shape.hashCode());
      int[] positions = NaiveCompression.largest(changes, Math.max(1, Math.round(density * changes.length)));
      float[] expected = new float[changes.length];
      Arrays.stream(positions).forEach(i -> expected[i] = changes[i]);

      Compressed compressed = Compressor.of(Density.of(density)).compress(patch(NAME, shape, changes));

      if (positions.length == 0) {
        assertEquals(Map.of(), compressed.patch().deltas());
      } else {
        Delta.Sparse delta = assertInstanceOf(Delta.Sparse.class, compressed.patch().deltas().get(NAME));
        assertArrayEquals(expected, applied(compressed.patch(), NAME, shape), shape + " at " + density);
        assertArrayEquals(positions, positions(delta), shape + " at " + density);
        assertEquals(positions.length, delta.values().shape().elements());
        assertTrue(delta.positions().info().bytes() <= (changes.length + 7) / 8, "a bitmap is never longer");
      }
    }
  }

  /** The positions that the stored bytes stand for, decoded from the definition. */
  private static int[] positions(Delta.Sparse delta) throws IOException {
    byte[] bytes = bytes(delta.positions());
    ByteBuffer offsets = ByteBuffer.wrap(bytes(delta.offsets())).order(ByteOrder.LITTLE_ENDIAN);
    List<Integer> positions = new ArrayList<>();
    int blocks = offsets.capacity() / 16 - 1;
    for (int block = 0; block < blocks; block++) {
      assertEquals(positions.size(), offsets.getLong(16 * block), "values before block " + block);
      int next = block * Delta.Sparse.BLOCK;
      for (int i = (int) offsets.getLong(16 * block + 8); i < offsets.getLong(16 * block + 24); i++) {
        int value = bytes[i] & 0xff;
        if (delta.coding() == Delta.Sparse.Coding.BITMAP) {
          for (int bit = 0; bit < 8; bit++) {
            if ((value >> bit & 1) == 1) {
              positions.add(8 * i + bit);
            }
          }
        } else if (value == 255) {
          next += 255;
        } else {
          positions.add(next + value);
          next += value + 1;
        }
      }
    }
    assertEquals(positions.size(), offsets.getLong(16 * blocks));
    return positions.stream().mapToInt(i -> i).toArray();
  }

  @ParameterizedTest
  @ValueSource(ints = {8, 4, 3, 2, 1})
  void changesKeptAreWrittenInFewBits(int bits) throws IOException {
    Shape shape = Shape.of(300, 700);
    float[] changes = changes((int) shape.elements(), 5);
    int[] positions = NaiveCompression.largest(changes, 21_000);
    float[] kept = new float[positions.length];
    for (int i = 0; i < kept.length; i++) {
      kept[i] = changes[positions[i]];
    }
    NaiveCompression.Quantised values = NaiveCompression.quantise(kept, 1, kept.length, bits, 64);
    float[] expected = new float[changes.length];
    for (int i = 0; i < kept.length; i++) {
      expected[positions[i]] = values.values()[i];
    }

    Compressed compressed = Compressor.of(new Density(0.1, false, Optional.of(new Bits(bits, 64)))).compress(patch(NAME, shape, changes));

    assertArrayEquals(withoutSignOfZero(expected), applied(compressed.patch(), NAME, shape));
    assertEquals(NaiveCompression.relativeError(changes, expected), compressed.total().relativeError(), 1e-12);
  }

  @Test
  void rescalingKeepsTheSumOfMagnitudes() throws IOException {
    Shape shape = Shape.of(100, 400);
    float[] changes = changes((int) shape.elements(), 6);
    Compressed compressed = Compressor.of(new Density(0.2, true, Optional.empty())).compress(patch(NAME, shape, changes));
    float[] found = applied(compressed.patch(), NAME, shape);

    assertEquals(sumOfMagnitudes(changes), sumOfMagnitudes(found), 1e-5 * sumOfMagnitudes(changes));
    assertEquals(NaiveCompression.relativeError(changes, found), compressed.total().relativeError(), 1e-12);
  }

  private static double sumOfMagnitudes(float[] values) {
    return Arrays.stream(wide(values)).map(Math::abs).sum();
  }

  static Stream<Compression> compressions() {
    return Stream.of(
        Bits.of(8), Bits.of(4), Bits.of(3), new Bits(2, Bits.MATRIX), Bits.of(1), new Bits(1, Bits.ROW),
        Bands.of(new Band(2, 8), new Band(5, 3), new Band(11, 2)), new Bands(List.of(new Band(3, 4), new Band(60, 1)), Bits.ROW),
        new Bits(8, Bits.MATRIX), Density.of(0.03), Density.of(0.4),
        new Density(0.1, true, Optional.of(Bits.of(4))),
        new Density(0.05, false, Optional.of(Bits.of(1))));
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void theErrorStatedIsThatOfTheAppliedModel(Compression compression) throws IOException {
    Map<String, Shape> shapes = new TreeMap<>(Map.of("a.weight", Shape.of(90, 800), "b.weight", Shape.of(33, 65), "norm.weight",
        Shape.of(77)));
    Map<String, Delta> deltas = new TreeMap<>();
    shapes.forEach((name, shape) -> deltas.put(name, new Delta.Dense(MemoryModel.random(DType.F32, shape, 0.01, name.hashCode()))));
    Compressed compressed = Compressor.of(compression).compress(Patch.of(deltas, Optional.empty(), "p"));

    double squares = 0;
    double lost = 0;
    for (Map.Entry<String, Shape> entry : shapes.entrySet()) {
      String name = entry.getKey();
      float[] changes = floats(bytes(((Delta.Dense) deltas.get(name)).values()));
      float[] found = applied(compressed.patch().only(name), name, entry.getValue());
      double error = NaiveCompression.relativeError(changes, found);
      assertEquals(error, compressed.losses().get(name).relativeError(), 1e-12, name);
      assertEquals(name.equals("norm.weight"), error == 0, name);
      for (int i = 0; i < changes.length; i++) {
        squares += Math.pow(changes[i], 2);
        lost += Math.pow((double) changes[i] - found[i], 2);
      }
    }
    assertEquals(Math.sqrt(lost / squares), compressed.total().relativeError(), 1e-12);
    assertEquals(Set.of("norm.weight"), compressed.whole());
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void readsOfAnyRangeGiveTheSameBytes(Compression compression) throws IOException {
    Shape shape = Shape.of(450, 333);
    Patch patch = Compressor.of(compression).compress(patch(NAME, shape, changes((int) shape.elements(), 8))).patch();
    ModelVersion zeros = MemoryModel.named("zeros").f32(NAME, shape, new double[(int) shape.elements()]).build();
    assertRangesAgree(patch.applyTo(zeros).tensor(NAME).orElseThrow(), 4);
    Delta delta = patch.deltas().get(NAME) instanceof Delta.Sum sum ? sum.terms().get(0).delta() : patch.deltas().get(NAME);
    List<Tensor> stored = new ArrayList<>();
    if (delta instanceof Delta.Sparse sparse) {
      stored.addAll(List.of(sparse.positions(), sparse.offsets()));
      delta = sparse.values();
    }
    if (delta instanceof Delta.LowRank factors) {
      assertRangesAgree(factors.a(), 4);
      assertRangesAgree(factors.b(), 4);
      return;
    }
    stored.addAll(delta instanceof Delta.Quantised few ? List.of(few.codes(), few.scales()) : List.of(((Delta.Dense) delta).values()));
    for (Tensor tensor : stored) {
      assertRangesAgree(tensor, tensor.info().dtype().bytes());
    }
  }

  private static void assertRangesAgree(Tensor tensor, int size) throws IOException {
    byte[] all = bytes(tensor);
    Random random = new Random(9);
    for (int i = 0; i < 60; i++) {
      int from = random.nextInt(all.length / size);
      int to = from + 1 + random.nextInt(Math.min(all.length / size - from, i % 2 == 0 ? 40 : all.length));
      ByteBuffer part = ByteBuffer.allocate((to - from) * size);
      tensor.read((long) from * size, part);
      assertArrayEquals(Arrays.copyOfRange(all, from * size, to * size), part.array(), tensor.info() + " from " + from + " to " + to);
    }
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void theOutcomeDoesNotDependOnThreads(Compression compression) throws Exception {
    Map<String, Delta> deltas = new TreeMap<>();
    Shape shape = Shape.of(150, 260);
    MemoryModel.Builder zeros = MemoryModel.named("zeros");
    for (int i = 0; i < 6; i++) {
      deltas.put("t" + i + ".weight", new Delta.Dense(MemoryModel.random(DType.BF16, shape, 0.01, i)));
      zeros.tensor("t" + i + ".weight", DType.BF16, shape, new double[(int) shape.elements()]);
    }
    Patch patch = Patch.of(deltas, Optional.empty(), "p");
    Compressed alone = Compressor.of(compression).compress(patch);
    ModelVersion expected = alone.patch().applyTo(zeros.build());
    ExecutorService threads = Executors.newFixedThreadPool(3);
    try {
      Compressed together = Compressor.of(compression).withExecutor(threads).compress(patch);
      assertEquals(alone.losses(), together.losses());
      assertEquals(alone.patch().recipe(), together.patch().recipe());
      ModelVersion found = together.patch().applyTo(zeros.build());
      List<Future<byte[]>> reads = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        String name = "t" + i + ".weight";
        reads.add(threads.submit(() -> MemoryModel.bytes(found, name)));
      }
      for (int i = 0; i < 6; i++) {
        assertArrayEquals(MemoryModel.bytes(expected, "t" + i + ".weight"), reads.get(i).get());
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @ParameterizedTest
  @MethodSource("compressions")
  void changesOfZeroAreLeftOut(Compression compression) throws IOException {
    Compressed compressed = Compressor.of(compression).compress(patch(NAME, Shape.of(40, 50), new float[2000]));
    assertEquals(Map.of(), compressed.patch().deltas());
    assertEquals(0, compressed.total().relativeError());
    assertEquals(Map.of(), Compressor.of(compression).compress(patch(NAME, Shape.of(0, 4), new float[0])).patch().deltas());
  }

  private static double norm(float[] values) {
    return Math.sqrt(Arrays.stream(wide(values)).map(value -> value * value).sum());
  }

  /** Codes of so few bits cannot be better than this for a normal distribution, and a fitted scale comes close (Max, 1960). */
  @ParameterizedTest
  @CsvSource({"3, 0.03744", "2, 0.1188", "1, 0.3634"})
  void fittedScalesReachTheBestErrorOfANormalDistribution(int bits, double best) throws IOException {
    Shape shape = Shape.of(64, 2048);
    Patch patch = Patch.of(Map.of(NAME, new Delta.Dense(normal(shape))), Optional.empty(), "p");
    double error = Compressor.of(new Bits(bits, Bits.ROW)).compress(patch).total().relativeError();
    assertEquals(Math.sqrt(best), error, 0.005);
  }

  private static Tensor normal(Shape shape) {
    Random random = new Random(3);
    return MemoryModel.tensor(DType.F32, shape, random.doubles(shape.elements()).map(any -> 0.01 * random.nextGaussian()).toArray());
  }

  @Test
  void bandsAreTheStrongestDirectionsInTheirBits() throws IOException {
    Shape shape = Shape.of(96, 72);
    float[] left = changes(96 * 6, 1);
    float[] right = changes(6 * 72, 2);
    float[] product = new float[96 * 72];
    for (int i = 0; i < 96; i++) {
      for (int j = 0; j < 72; j++) {
        for (int k = 0; k < 6; k++) {
          product[i * 72 + j] += 100 * left[i * 6 + k] * right[k * 72 + j];
        }
      }
    }
    Patch patch = patch(NAME, shape, product);
    Compressed eight = Compressor.of(Bands.of(new Band(4, 8), new Band(2, 8))).compress(patch);
    assertTrue(eight.total().relativeError() < 0.02, "error " + eight.total().relativeError());
    Compressed mixed = Compressor.of(Bands.of(new Band(1, 8), new Band(2, 3), new Band(9, 2))).compress(patch);
    Delta.Sum sum = assertInstanceOf(Delta.Sum.class, mixed.patch().deltas().get(NAME));
    List<Delta.LowRank> bands = sum.terms().stream().map(term -> (Delta.LowRank) term.delta()).toList();
    // The matrix has rank 6, and the last band is cut to what there is.
    assertEquals(List.of(1, 2, 3), bands.stream().map(Delta.LowRank::rank).toList());
    List<Integer> bits = bands.stream().map(band -> QuantisedFactor.storedRight(band.a()).orElseThrow().bits()).toList();
    assertEquals(List.of(8, 3, 2), bits);
    double first = norm(applied(patch(NAME, bands.get(0)), NAME, shape));
    double rest = norm(applied(patch(NAME, bands.get(2)), NAME, shape));
    assertTrue(first > rest, first + " in the first band, " + rest + " in the last");
    double error = mixed.total().relativeError();
    assertTrue(error > eight.total().relativeError() && error < 0.5, "error " + error);
    Compressed again = Compressor.of(Bands.of(new Band(2, 8))).compress(patch(NAME, new Delta.Sum(sum.terms())));
    assertTrue(again.whole().contains(NAME), "factors are small already");
  }

  private static Patch patch(String name, Delta delta) {
    return Patch.of(Map.of(name, delta), Optional.empty(), "hand-made");
  }

  @Test
  void whatIsNoMatrixIsKeptWholeBesideBandsAndEmbeddingsUnlessNamed() throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    Map<String, Shape> shapes =
        Map.of("model.norm.weight", Shape.of(9), "model.experts.up_proj", Shape.of(3, 16, 8), "model.embed_tokens.weight", Shape.of(40, 16),
            "conv.weight", Shape.of(8, 4, 3));
    shapes.forEach((name, shape) -> deltas.put(name, new Delta.Dense(MemoryModel.random(DType.F32, shape, 0.01, name.hashCode()))));
    Patch patch = Patch.of(deltas, Optional.empty(), "p");
    Compressor compressor = Compressor.of(Bands.of(new Band(2, 4)));
    assertEquals(Set.of("model.norm.weight", "model.experts.up_proj", "model.embed_tokens.weight"), compressor.compress(patch).whole());
    assertEquals(Set.of("model.norm.weight", "model.experts.up_proj"), compressor.only("*").compress(patch).whole());
  }

  @Test
  void bandsRefuseWhatMeansNothing() {
    assertEquals("there must be at least one band", assertThrows(IllegalArgumentException.class, Bands::of).getMessage());
    assertThrows(IllegalArgumentException.class, () -> new Band(0, 8));
    assertThrows(IllegalArgumentException.class, () -> new Band(1, 5));
    assertThrows(IllegalArgumentException.class, () -> new Bands(List.of(new Band(1, 8)), Bits.MATRIX));
    assertThrows(IllegalArgumentException.class, () -> new Bands(List.of(new Band(1, 8)), 12));
    assertEquals("2 directions in 8 bits, 1 direction in 1 bit", Bands.of(new Band(2, 8), new Band(1, 1)).description());
  }

  @Test
  void equalChangesAreExactInOneBitAndKeptFromTheFirst() throws IOException {
    Shape shape = Shape.of(30, 40);
    float[] changes = new float[1200];
    Arrays.fill(changes, -0.25f);
    Compressed bit = Compressor.of(Bits.of(1)).compress(patch(NAME, shape, changes));
    assertEquals(0, bit.total().relativeError());
    assertArrayEquals(changes, applied(bit.patch(), NAME, shape));

    float[] expected = changes.clone();
    Arrays.fill(expected, 120, 1200, 0);
    Compressed tenth = Compressor.of(Density.of(0.1)).compress(patch(NAME, shape, changes));
    assertArrayEquals(expected, applied(tenth.patch(), NAME, shape));
    assertEquals(Math.sqrt(0.9), tenth.total().relativeError(), 1e-12);
  }

  @Test
  void changesTooSmallForAScaleBecomeZeroAndCountAsLost() throws IOException {
    Shape shape = Shape.of(2, 8);
    float[] changes = new float[16];
    Arrays.fill(changes, Float.MIN_VALUE);
    Compressed compressed = Compressor.of(Bits.of(8)).compress(patch(NAME, shape, changes));
    assertArrayEquals(new float[16], applied(compressed.patch(), NAME, shape));
    assertEquals(1, compressed.total().relativeError());
  }

  @Test
  void infiniteAndNanChangesAreRefusedWithTheirNumber() {
    float[] changes = changes(200_000, 3);
    changes[7] = Float.NaN;
    changes[199_999] = Float.NEGATIVE_INFINITY;
    float[] norm = {1, Float.POSITIVE_INFINITY};
    Patch patch = patch(NAME, Shape.of(400, 500), changes).plus(patch("norm.weight", Shape.of(2), norm))
        .plus(patch("fine.weight", Shape.of(1, 2), new float[] {1, 2}));
    for (Compression compression : compressions().toList()) {
      IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> Compressor.of(compression).compress(patch));
      assertEquals(
          List.of("tensor '" + NAME + "': 2 changes are infinite or NaN", "tensor 'norm.weight': 1 changes are infinite or NaN"),
          refusal.mismatches().stream().map(Object::toString).toList());
    }
  }

  @Test
  void vectorsAndSmallChangesAreKeptWholeAndEmbeddingsWithOneBit() throws IOException {
    Shape matrix = Shape.of(16, 24);
    Delta.Dense dense = new Delta.Dense(MemoryModel.random(DType.F32, matrix, 1, 1));
    Delta.Dense vector = new Delta.Dense(MemoryModel.random(DType.F32, Shape.of(24), 1, 2));
    Delta product =
        new Delta.LowRank(MemoryModel.random(DType.F32, Shape.of(16, 2), 1, 3), MemoryModel.random(DType.F32, Shape.of(2, 24), 1, 4),
            0.5, false, matrix);
    Delta rows = new Delta.Rows(ImmutableLongArray.of(3), MemoryModel.random(DType.F32, Shape.of(1, 24), 1, 5), Optional.empty(), matrix);
    Delta replaced = new Delta.Replacement(MemoryModel.random(DType.F32, matrix, 1, 6));
    Map<String, Delta> deltas =
        Map.of(
            "q_proj.weight", dense, "q_proj.bias", vector, "v_proj.weight", product, "o_proj.weight", rows, "extra.weight", replaced,
            "model.embed_tokens.weight", new Delta.Dense(MemoryModel.random(DType.F32, matrix, 1, 7)), "lm_head.weight",
                new Delta.Dense(MemoryModel.random(DType.F32, matrix, 1, 8)));
    Patch patch = Patch.of(deltas, Optional.empty(), "p");

    Compressed four = Compressor.of(Bits.of(4)).compress(patch);
    Compressed one = Compressor.of(Bits.of(1)).compress(patch);
    Compressed sparse = Compressor.of(new Density(0.5, false, Optional.of(Bits.of(1)))).compress(patch);

    assertEquals(Set.of("q_proj.bias", "v_proj.weight", "o_proj.weight"), four.whole());
    Set<String> withVocabulary = Set.of("q_proj.bias", "v_proj.weight", "o_proj.weight", "model.embed_tokens.weight", "lm_head.weight");
    assertEquals(withVocabulary, one.whole());
    assertEquals(withVocabulary, sparse.whole());
    for (Compressed compressed : List.of(four, one, sparse)) {
      compressed.whole().forEach(name -> assertEquals(deltas.get(name), compressed.patch().deltas().get(name)));
      compressed.whole().forEach(name -> assertEquals(0, compressed.losses().get(name).lost()));
      assertEquals(replaced, compressed.patch().deltas().get("extra.weight"));
      assertFalse(compressed.losses().containsKey("extra.weight"));
    }
  }

  @Test
  void namedTensorsAreCompressedWhateverTheyAre() throws IOException {
    Patch patch =
        patch("lm_head.weight", Shape.of(4, 16), changes(64, 1)).plus(patch("norm.weight", Shape.of(300), changes(300, 2)))
            .plus(patch(NAME, Shape.of(4, 16), changes(64, 3)));
    Compressed compressed = Compressor.of(new Bits(1, 8)).only("lm_head.*", "norm.*").compress(patch);
    assertEquals(Set.of(NAME), compressed.whole());
    Delta.Quantised norm = assertInstanceOf(Delta.Quantised.class, compressed.patch().deltas().get("norm.weight"));
    NaiveCompression.Quantised expected = NaiveCompression.quantise(changes(300, 2), 1, 300, 1, 8);
    assertArrayEquals(expected.codes(), bytes(norm.codes()));
    assertArrayEquals(expected.scales(), floats(bytes(norm.scales())));
    assertThrows(IllegalArgumentException.class, () -> Compressor.of(Bits.of(1)).only("nothing*").compress(patch));
  }

  @Test
  void compressedPatchesAreScaledAndSummed() throws IOException {
    Shape shape = Shape.of(20, 300);
    Patch few = Compressor.of(Bits.of(4)).compress(patch(NAME, shape, changes(6000, 1))).patch();
    Patch sparse = Compressor.of(Density.of(0.1)).compress(patch(NAME, shape, changes(6000, 2))).patch();
    float[] one = applied(few, NAME, shape);
    float[] other = applied(sparse, NAME, shape);
    float[] expected = new float[6000];
    for (int i = 0; i < expected.length; i++) {
      expected[i] = one[i] * 0.5f + -other[i];
    }
    assertArrayEquals(withoutSignOfZero(expected), withoutSignOfZero(applied(few.scaledBy(0.5).plus(sparse.negate()), NAME, shape)));
  }

  @Test
  void theSumOfAllTermsIsCompressed() throws IOException {
    Shape shape = Shape.of(10, 100);
    Patch sum = patch(NAME, shape, changes(1000, 1)).scaledBy(3).plus(patch(NAME, shape, changes(1000, 2)));
    float[] changes = applied(sum, NAME, shape);
    NaiveCompression.Quantised expected = NaiveCompression.quantise(changes, 10, 100, 8, 128);
    assertArrayEquals(withoutSignOfZero(expected.values()), applied(Compressor.of(Bits.of(8)).compress(sum).patch(), NAME, shape));
  }

  @Test
  void theRecipeSaysHowAndWithWhatError() throws IOException {
    Patch patch = patch(NAME, Shape.of(2, 2), new float[] {3, 0, 0, -4});
    assertEquals("(hand-made) at density 0.25, relative error 0.6000", Compressor.of(Density.of(0.25)).compress(patch).patch().recipe());
    assertEquals("8 bits", Bits.of(8).description());
    assertEquals("1 bit", Bits.of(1).description());
    assertEquals("1 bit with a scale for each row", new Bits(1, Bits.ROW).description());
    assertEquals("density 0.1 rescaled in 4 bits with a scale for each 64",
        new Density(0.1, true, Optional.of(new Bits(4, 64))).description());
  }

  @Test
  void whatItIsMadeOfIsCheckedForChange() throws IOException {
    MemoryModel model = MemoryModel.named("m").random(NAME, DType.F32, Shape.of(4, 4), 1, 1).build();
    Patch patch = Patch.of(Map.of(NAME, new Delta.Dense(model.tensor(NAME).orElseThrow())), Optional.empty(), "p");
    Delta.Quantised delta = (Delta.Quantised) Compressor.of(Bits.of(8)).compress(patch).patch().deltas().get(NAME);
    delta.codes().version().verifyUnchanged();
    model.change();
    assertThrows(IOException.class, () -> delta.codes().version().verifyUnchanged());
  }

  @Test
  void changesThatDependOnTheNewBaseAreRefused() {
    RowChange change =
        new RowChange() {
          @Override
          public Shape shape() {
            return Shape.of(2, 2);
          }

          @Override
          public boolean dependsOnWeights() {
            return true;
          }

          @Override
          public List<Tensor> inputs() {
            return List.of();
          }

          @Override
          public void compute(long fromRow, long toRow, Tensor weights, float[] target) {
            Arrays.fill(target, 1);
          }
        };
    Patch patch = Patch.of(Map.of(NAME, new Delta.Computed(change, Optional.empty())), Optional.empty(), "p");
    assertThrows(IllegalStateException.class, () -> Compressor.of(Bits.of(8)).compress(patch));
  }

  @Test
  void theListenerIsToldOfAllTensorsAndMayStopTheWork() throws IOException {
    Patch patch = patch("a.weight", Shape.of(3, 5), changes(15, 1)).plus(patch("b.weight", Shape.of(7), changes(7, 2)));
    List<Long> told = new ArrayList<>();
    Compressor.of(Bits.of(8)).withProgress(new ProgressListener() {
      @Override
      public void started(long totalBytes) {
        told.add(totalBytes);
      }

      @Override
      public void progressed(long doneBytes, long totalBytes) {
        told.add(doneBytes);
      }
    }).compress(patch);
    assertEquals(List.of(88L, 60L, 88L), told);
    Compressor stopped = Compressor.of(Bits.of(8)).withProgress(new ProgressListener() {
      @Override
      public void progressed(long doneBytes, long totalBytes) {
        throw new IllegalStateException("enough");
      }
    });
    assertEquals("enough", assertThrows(IllegalStateException.class, () -> stopped.compress(patch)).getMessage());
  }

  @Test
  void anInterruptCancels() {
    Thread.currentThread().interrupt();
    try {
      assertThrows(CancellationException.class, () -> Compressor.of(Bits.of(8)).compress(patch(NAME, Shape.of(2, 2), changes(4, 1))));
    } finally {
      assertTrue(Thread.interrupted());
    }
  }

  @Test
  void optionsOutOfRangeAreRefused() {
    assertAll(
        () -> assertThrows(IllegalArgumentException.class, () -> Bits.of(5)),
        () -> assertThrows(IllegalArgumentException.class, () -> new Bits(4, 12)),
        () -> assertThrows(IllegalArgumentException.class, () -> new Bits(4, -8)),
        () -> assertThrows(IllegalArgumentException.class, () -> Density.of(0)),
        () -> assertThrows(IllegalArgumentException.class, () -> Density.of(1.01)),
        () -> assertThrows(IllegalArgumentException.class, () -> Density.of(Double.NaN)));
  }
}
