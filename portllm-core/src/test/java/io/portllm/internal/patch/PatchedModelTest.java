package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.testing.Codes;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PatchedModelTest {
  /** 420,700 weights: more than one run of 512 KiB for every type of two bytes and more. */
  private static final Shape LARGE = Shape.of(700, 601);

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void differencesAreAddedToLargeTensors(DType type) throws IOException {
    Tensor tuned = MemoryModel.random(DType.BF16, LARGE, 0.1, 1);
    Tensor base = MemoryModel.random(DType.F32, LARGE, 0.1, 2);
    // Neither side is F64, so the difference is of float32 whatever it is added to.
    assertAdded(type, LARGE, new Delta.Difference(tuned, base), minus(MemoryModel.values(tuned), MemoryModel.values(base)));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void storedChangesOfTheWidestTypeAreAddedToLargeTensors(DType type) throws IOException {
    Tensor values = MemoryModel.random(DType.F64, LARGE, 0.1, 3);
    assertAdded(type, LARGE, new Delta.Dense(values), MemoryModel.values(values));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "BF16", "F8_E5M2"})
  void productsAreAddedToLargeTensors(DType type) throws IOException {
    Tensor b = MemoryModel.random(DType.F32, Shape.of(700, 3), 0.3, 4);
    Tensor a = MemoryModel.random(DType.BF16, Shape.of(3, 601), 0.3, 5);
    assertAdded(type, LARGE, new Delta.LowRank(b, a, 1, false, LARGE), product(b, a, 700, 3, 601));
  }

  @Test
  void productsOfTransposedWeightsAreTransposed() throws IOException {
    Tensor b = MemoryModel.random(DType.F16, Shape.of(601, 5), 0.3, 6);
    Tensor a = MemoryModel.random(DType.F32, Shape.of(5, 700), 0.3, 7);
    double[] outByIn = product(b, a, 601, 5, 700);
    double[] inByOut = new double[outByIn.length];
    for (int out = 0; out < 601; out++) {
      for (int in = 0; in < 700; in++) {
        inByOut[in * 601 + out] = outByIn[out * 700 + in];
      }
    }
    assertAdded(DType.BF16, LARGE, new Delta.LowRank(b, a, 1, true, LARGE), inByOut);
  }

  @Test
  void productsOfConvolutionsCountTheKernelAsColumns() throws IOException {
    Shape shape = Shape.of(40, 6, 3, 3);
    Tensor b = MemoryModel.random(DType.F32, Shape.of(40, 4, 1, 1), 0.3, 8);
    Tensor a = MemoryModel.random(DType.F32, Shape.of(4, 6, 3, 3), 0.3, 9);
    assertAdded(DType.F32, shape, new Delta.LowRank(b, a, 1, false, shape), product(b, a, 40, 4, 54));
  }

  @Test
  void aProductOfRankZeroChangesNothing() throws IOException {
    Tensor b = MemoryModel.tensor(DType.F32, Shape.of(5, 0));
    Tensor a = MemoryModel.tensor(DType.F32, Shape.of(0, 4));
    assertAdded(DType.F32, Shape.of(5, 4), new Delta.LowRank(b, a, 1, false, Shape.of(5, 4)), new double[20]);
    assertAdded(DType.F32, Shape.of(4, 5), new Delta.LowRank(b, a, 1, true, Shape.of(4, 5)), new double[20]);
  }

  @Test
  void theScaleOfAProductIsAppliedAfterItsSum() throws IOException {
    Tensor b = MemoryModel.tensor(DType.F32, Shape.of(1, 2), 1, 2);
    Tensor a = MemoryModel.tensor(DType.F32, Shape.of(2, 2), 3, 5, 7, 11);
    assertAdded(DType.F32, Shape.of(1, 2), new Delta.LowRank(b, a, 0.5, false, Shape.of(1, 2)), new double[] {8.5, 13.5});
  }

  @Test
  void rowsAreAddedWhereTheirNumbersSay() throws IOException {
    Tensor values = MemoryModel.tensor(DType.BF16, Shape.of(3, 2), 1, 2, 3, 4, 5, 6);
    Delta rows = new Delta.Rows(ImmutableLongArray.of(4, 0, 2), values, Optional.empty(), Shape.of(5, 2));
    assertAdded(DType.F32, Shape.of(5, 2), rows, new double[] {3, 4, 0, 0, 5, 6, 0, 0, 1, 2});
    assertAdded(DType.F32, Shape.of(7, 2), rows, new double[] {3, 4, 0, 0, 5, 6, 0, 0, 1, 2, 0, 0, 0, 0});
  }

  @Test
  void rowsOfNewWeightsAreTakenAgainstTheSameRowsOfTheirBase() throws IOException {
    Tensor values = MemoryModel.tensor(DType.F32, Shape.of(2, 2), 10, 20, 30, 40);
    Tensor base = MemoryModel.tensor(DType.F16, Shape.of(4, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    Delta rows = new Delta.Rows(ImmutableLongArray.of(3, 1), values, Optional.of(base), Shape.of(4, 2));
    assertAdded(DType.BF16, Shape.of(4, 2), rows, new double[] {0, 0, 27, 36, 0, 0, 3, 12});
  }

  @Test
  void rowsThatSpanRunsAreAddedWhole() throws IOException {
    Shape shape = Shape.of(5, 300_000);
    Tensor values = MemoryModel.random(DType.F32, Shape.of(2, 300_000), 1, 10);
    Tensor base = MemoryModel.random(DType.F32, shape, 1, 11);
    double[] tuned = MemoryModel.values(values);
    double[] old = MemoryModel.values(base);
    double[] change = new double[1_500_000];
    for (int i = 0; i < 300_000; i++) {
      change[900_000 + i] = (float) tuned[i] - (float) old[900_000 + i];
      change[i] = (float) tuned[300_000 + i] - (float) old[i];
    }
    assertAdded(DType.F32, shape, new Delta.Rows(ImmutableLongArray.of(3, 0), values, Optional.of(base), shape), change);
  }

  /** A buffer of its own for each row would take 8 GiB here. */
  @Test
  void manyShortRowsNeedNoMoreMemoryThanOneRun() throws IOException {
    int count = 8192;
    Shape shape = Shape.of(count, 4);
    Tensor values = MemoryModel.random(DType.F32, shape, 1, 12);
    Tensor base = MemoryModel.random(DType.F32, shape, 1, 13);
    ImmutableLongArray indices = ImmutableLongArray.copyOf(IntStream.range(0, count).mapToLong(i -> count - 1 - i).toArray());
    double[] tuned = MemoryModel.values(values);
    double[] old = MemoryModel.values(base);
    double[] change = new double[4 * count];
    for (int i = 0; i < 4 * count; i++) {
      change[i] = (float) tuned[4 * (count - 1 - i / 4) + i % 4] - (float) old[i];
    }
    assertAdded(DType.F32, shape, new Delta.Rows(indices, values, Optional.of(base), shape), change);
  }

  @Test
  void theTermsOfASumAreAddedInTheirOrder() throws IOException {
    Tensor one = MemoryModel.tensor(DType.F32, Shape.of(2, 1), 1, 1);
    Tensor big = MemoryModel.tensor(DType.F32, Shape.of(2, 1), 0x1p24, 0x1p24);
    Tensor row = MemoryModel.tensor(DType.F32, Shape.of(1, 1), 1);
    Delta sum =
        new Delta.Sum(
            List.of(
                new Delta.Term(1, new Delta.Dense(one)),
                new Delta.Term(1, new Delta.Dense(big)),
                new Delta.Term(-1, new Delta.Dense(big)),
                new Delta.Term(3, new Delta.Rows(ImmutableLongArray.of(1), row, Optional.empty(), Shape.of(2, 1)))));
    assertAdded(DType.F32, Shape.of(2, 1), sum, new double[] {0, 3});
  }

  @Test
  void replacementsTakeThePlaceOfTheWeightsBitForBit() throws IOException {
    byte[] odd = new byte[2 * 420_700];
    new Random(14).nextBytes(odd);
    Tensor values = raw(DType.BF16, LARGE, odd);
    ModelVersion ported = ported(DType.BF16, LARGE, new Delta.Replacement(values), MergeOptions.defaults());
    assertReads(odd, ported);
    assertEquals(new Rounding(420_700, 0, 0, 0), count(ported));
  }

  @Test
  void replacementsOfAnotherTypeAreRoundedOnce() throws IOException {
    for (DType from : List.of(DType.F64, DType.F32, DType.F16)) {
      for (DType to : List.of(DType.F64, DType.F32, DType.BF16, DType.F8_E4M3)) {
        Tensor values = MemoryModel.random(from, LARGE, 1, 15);
        ModelVersion ported = ported(to, LARGE, new Delta.Replacement(values), MergeOptions.defaults());
        assertReads(Codes.bytes(to, MemoryModel.values(values)), ported);
      }
    }
  }

  @Test
  void replacementsOfTypesWithoutArithmeticAreCopied() throws IOException {
    byte[] bytes = new byte[800_000];
    new Random(16).nextBytes(bytes);
    Tensor values = raw(DType.I64, Shape.of(100_000), bytes);
    assertReads(bytes, ported(DType.I64, Shape.of(100_000), new Delta.Replacement(values), MergeOptions.defaults()));
  }

  @Test
  void replacedRowsLeaveTheOthersAsTheyWere() throws IOException {
    Tensor values = MemoryModel.tensor(DType.F32, Shape.of(2, 3), 1, 2, 3, 4, 5, 6);
    for (DType type : List.of(DType.F32, DType.BF16)) {
      MemoryModel newBase = newBase(type, Shape.of(4, 3));
      Delta delta = new Delta.RowReplacement(ImmutableLongArray.of(3, 1), values, Shape.of(4, 3));
      ModelVersion ported = patch(delta).applyTo(newBase);
      double[] expected = MemoryModel.values(newBase, "w");
      System.arraycopy(new double[] {4, 5, 6}, 0, expected, 3, 3);
      System.arraycopy(new double[] {1, 2, 3}, 0, expected, 9, 3);
      assertReads(Codes.bytes(type, expected), ported);
      assertEquals(new Rounding(6, 0, 0, 0), count(ported));
    }
  }

  @Test
  void fewerRowsLeaveTheRestOfALargerVocabularyAsItWas() throws IOException {
    Shape few = Shape.of(300, 601);
    Tensor tuned = MemoryModel.random(DType.BF16, few, 0.1, 17);
    Tensor base = MemoryModel.random(DType.BF16, Shape.of(310, 601), 0.1, 18);
    double[] difference =
        minus(MemoryModel.values(tuned), Arrays.copyOf(MemoryModel.values(base), 300 * 601));
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    Tensor b = MemoryModel.random(DType.F32, Shape.of(300, 2), 0.1, 19);
    Tensor a = MemoryModel.random(DType.F32, Shape.of(2, 601), 0.1, 20);
    for (DType type : List.of(DType.F32, DType.BF16, DType.F16)) {
      MemoryModel newBase = newBase("lm_head.weight", type, LARGE);
      double[] old = MemoryModel.values(newBase, "lm_head.weight");
      assertReads(
          added(type, old, Arrays.copyOf(difference, 420_700)),
          headPatch(new Delta.Difference(tuned, base)).applyTo(newBase, options));
      assertReads(
          added(type, old, Arrays.copyOf(MemoryModel.values(tuned), 420_700)),
          headPatch(new Delta.Dense(tuned)).applyTo(newBase, options));
      assertReads(
          added(type, old, Arrays.copyOf(product(b, a, 300, 2, 601), 420_700)),
          headPatch(new Delta.LowRank(b, a, 1, false, few)).applyTo(newBase, options));
      double[] replaced = old.clone();
      System.arraycopy(MemoryModel.values(tuned), 0, replaced, 0, 300 * 601);
      assertReads(Codes.bytes(type, replaced), headPatch(new Delta.Replacement(tuned)).applyTo(newBase, options));
    }
  }

  @Test
  void moreRowsThanTheNewVocabularyHasAreLeftOut() throws IOException {
    Tensor values = MemoryModel.tensor(DType.F32, Shape.of(4, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    MemoryModel newBase = MemoryModel.named("n").f32("lm_head.weight", Shape.of(2, 2), 10, 10, 10, 10).build();
    assertReads(Codes.bytes(DType.F32, 11, 12, 13, 14), headPatch(new Delta.Dense(values)).applyTo(newBase, options));
    assertReads(Codes.bytes(DType.F32, 1, 2, 3, 4), headPatch(new Delta.Replacement(values)).applyTo(newBase, options));
  }

  @Test
  void integersOfAnotherVocabularyAreReplacedAsFarAsTheyGo() throws IOException {
    byte[] old = {1, 2, 3, 4, 5, 6, 7, 8};
    Tensor few = raw(DType.U8, Shape.of(3, 2), new byte[] {11, 12, 13, 14, 15, 16});
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    MemoryModel newBase = MemoryModel.named("n").raw("lm_head.weight", DType.U8, Shape.of(4, 2), old).build();
    assertReads(
        new byte[] {11, 12, 13, 14, 15, 16, 7, 8}, headPatch(new Delta.Replacement(few)).applyTo(newBase, options));
  }

  @Test
  void scalarsAndEmptyTensorsAreChangedLikeOthers() throws IOException {
    Tensor one = MemoryModel.tensor(DType.F32, Shape.of(), 1);
    assertAdded(DType.BF16, Shape.of(), new Delta.Dense(one), new double[] {1});
    assertAdded(DType.BF16, Shape.of(), new Delta.Difference(one, one), new double[] {0});
    for (Shape empty : List.of(Shape.of(0), Shape.of(0, 5), Shape.of(5, 0))) {
      Tensor none = MemoryModel.tensor(DType.F32, empty);
      for (Delta delta : List.of(new Delta.Dense(none), new Delta.Difference(none, none), new Delta.Replacement(none))) {
        ModelVersion ported = ported(DType.F32, empty, delta, MergeOptions.defaults());
        assertEquals(0, MemoryModel.bytes(ported, "w").length);
        assertEquals(Rounding.NONE, count(ported));
      }
    }
  }

  @Test
  void anyRangeReadsAsThePartOfTheWhole() throws IOException {
    Random random = new Random(21);
    Tensor tuned = MemoryModel.random(DType.F32, LARGE, 0.1, 22);
    Tensor base = MemoryModel.random(DType.BF16, LARGE, 0.1, 23);
    Tensor b = MemoryModel.random(DType.F32, Shape.of(700, 4), 0.1, 24);
    Tensor a = MemoryModel.random(DType.F32, Shape.of(4, 601), 0.1, 25);
    Tensor bt = MemoryModel.random(DType.F32, Shape.of(601, 4), 0.1, 26);
    Tensor at = MemoryModel.random(DType.F32, Shape.of(4, 700), 0.1, 27);
    Tensor rows = MemoryModel.random(DType.F32, Shape.of(3, 601), 0.1, 28);
    ImmutableLongArray indices = ImmutableLongArray.of(400, 7, 399);
    List<Delta> deltas =
        List.of(
            new Delta.Difference(tuned, base),
            new Delta.LowRank(b, a, 2, false, LARGE),
            new Delta.LowRank(bt, at, 2, true, LARGE),
            new Delta.Rows(indices, rows, Optional.of(base), LARGE),
            new Delta.Replacement(tuned),
            new Delta.RowReplacement(indices, rows, LARGE));
    for (Delta delta : deltas) {
      ModelVersion ported = ported(DType.BF16, LARGE, delta, MergeOptions.defaults());
      TensorInfo info = ported.find("w").orElseThrow();
      byte[] whole = MemoryModel.bytes(ported, "w");
      for (int i = 0; i < 40; i++) {
        int from = random.nextInt(420_700);
        int count = i < 20 ? random.nextInt(Math.min(3000, 420_700 - from) + 1) : random.nextInt(420_700 - from + 1);
        ByteBuffer part = i % 2 == 0 ? ByteBuffer.allocate(2 * count + 10) : ByteBuffer.allocateDirect(2 * count + 10);
        part.position(3).limit(3 + 2 * count);
        ported.read(info, 2L * from, part);
        assertEquals(3 + 2 * count, part.position());
        assertEquals(ByteBuffer.wrap(whole, 2 * from, 2 * count), part.flip().position(3));
      }
    }
  }

  @Test
  void manyThreadsReadTheSameBytes() throws Exception {
    Tensor tuned = MemoryModel.random(DType.F32, LARGE, 0.1, 30);
    Tensor b = MemoryModel.random(DType.F32, Shape.of(700, 4), 0.1, 31);
    Tensor a = MemoryModel.random(DType.F32, Shape.of(4, 601), 0.1, 32);
    Delta sum =
        new Delta.Sum(
            List.of(
                new Delta.Term(0.5, new Delta.Difference(tuned, tuned)),
                new Delta.Term(2, new Delta.Dense(tuned)),
                new Delta.Term(1, new Delta.LowRank(b, a, 1, false, LARGE))));
    ModelVersion ported = ported(DType.BF16, LARGE, sum, MergeOptions.defaults());
    byte[] whole = MemoryModel.bytes(ported, "w");
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try {
      List<Future<byte[]>> reads = new ArrayList<>();
      for (int i = 0; i < 24; i++) {
        reads.add(threads.submit(() -> MemoryModel.bytes(ported, "w")));
      }
      for (Future<byte[]> read : reads) {
        assertArrayEquals(whole, read.get());
      }
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void aPatchedModelCanBePatchedAgain() throws IOException {
    MemoryModel newBase = newBase(DType.F32, Shape.of(3));
    Patch patch = patch(new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3), 1, 2, 3)));
    ModelVersion back = patch.negate().applyTo(patch.applyTo(newBase));
    double[] once = Codes.values(DType.F32, added(DType.F32, MemoryModel.values(newBase, "w"), new double[] {1, 2, 3}));
    assertReads(added(DType.F32, once, new double[] {-1, -2, -3}), back);
  }

  @Test
  void overflowIsRefusedNamingTensorElementsAndOption() {
    Tensor change = MemoryModel.tensor(DType.F32, Shape.of(3), 1, 65504, 65504);
    MemoryModel newBase = MemoryModel.named("new\nbase").tensor("w", DType.F16, Shape.of(3), 1, 65504, -65504).build();
    ModelVersion ported = patch(new Delta.Dense(change)).applyTo(newBase);
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(ported, "w"));
    assertEquals(
        "the patch does not fit 'new\\u000abase': tensor 'w': 1 weights left the range of F16 among elements 0 to 2 (allowed by overflow)",
        e.getMessage());
  }

  @Test
  void allowedOverflowIsCounted() throws IOException {
    Tensor change = MemoryModel.tensor(DType.F32, Shape.of(4), 1, 65504, -65504, 0x1p-30);
    MemoryModel newBase = MemoryModel.named("n").tensor("w", DType.F16, Shape.of(4), 1, 65504, -65504, 1).build();
    ModelVersion ported = patch(new Delta.Dense(change)).applyTo(newBase, MergeOptions.defaults().allow(Allow.OVERFLOW));
    assertReads(Codes.bytes(DType.F16, 2, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 1), ported);
    assertEquals(new Rounding(4, 1, 2, 0), count(ported));
  }

  @Test
  void overflowOfReplacementsIsRefusedUnlessAllowed() throws IOException {
    Delta delta = new Delta.Replacement(MemoryModel.tensor(DType.F32, Shape.of(2), 1e6, 1));
    ModelVersion refused = ported(DType.F16, Shape.of(2), delta, MergeOptions.defaults());
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(refused, "w"));
    assertEquals(Optional.of(Allow.OVERFLOW), e.mismatches().get(0).allowedBy());
    ModelVersion allowed = ported(DType.F16, Shape.of(2), delta, MergeOptions.defaults().allow(Allow.OVERFLOW));
    assertReads(Codes.bytes(DType.F16, Double.POSITIVE_INFINITY, 1), allowed);
    assertEquals(new Rounding(2, 0, 1, 0), count(allowed));
  }

  @Test
  void sumsThatAreNotFiniteAreRefusedWhateverIsAllowed() {
    MergeOptions all = MergeOptions.defaults().allow(Allow.values());
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
      for (DType type : List.of(DType.F64, DType.F32, DType.BF16, DType.F8_E4M3)) {
        Delta delta = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(2), 1, bad));
        ModelVersion ported = ported(type, Shape.of(2), delta, all);
        IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(ported, "w"));
        assertTrue(e.getMessage().endsWith("tensor 'w': 1 weights became infinite or NaN among elements 0 to 1"), e.getMessage());
      }
    }
  }

  @Test
  void wrongRangesAreRefused() {
    Delta delta = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3), 1, 2, 3));
    ModelVersion ported = ported(DType.F32, Shape.of(3), delta, MergeOptions.defaults());
    TensorInfo info = ported.find("w").orElseThrow();
    for (long[] range : new long[][] {{-4, 4}, {0, 16}, {12, 4}, {16, 0}, {2, 4}, {0, 3}, {Long.MAX_VALUE, 4}, {Long.MIN_VALUE, 4}}) {
      ByteBuffer target = ByteBuffer.allocate((int) range[1]);
      assertThrows(IllegalArgumentException.class, () -> ported.read(info, range[0], target), () -> Arrays.toString(range));
    }
    TensorInfo other = new TensorInfo("w", DType.F32, Shape.of(4));
    assertThrows(IllegalArgumentException.class, () -> ported.read(other, 0, ByteBuffer.allocate(4)));
    TensorInfo unknown = new TensorInfo("v", DType.F32, Shape.of(3));
    assertThrows(IllegalArgumentException.class, () -> ported.read(unknown, 0, ByteBuffer.allocate(4)));
  }

  @Test
  void readingNothingReadsNothing() throws IOException {
    Delta delta = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3), 1, 2, 3));
    ModelVersion ported = ported(DType.F32, Shape.of(3), delta, MergeOptions.defaults());
    ported.read(ported.find("w").orElseThrow(), 12, ByteBuffer.allocate(0));
    assertEquals(Rounding.NONE, ((PatchedModel) ported).readCounting(ported.find("w").orElseThrow(), 0, ByteBuffer.allocate(0)));
  }

  @Test
  void aClosedPatchedModelReadsNoMoreAndClosesNothingElse() throws IOException {
    Delta delta = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3), 1, 2, 3));
    MemoryModel newBase = newBase(DType.F32, Shape.of(3));
    ModelVersion ported = patch(delta).applyTo(newBase);
    ported.close();
    ported.close();
    assertThrows(IllegalStateException.class, () -> MemoryModel.bytes(ported, "w"));
    assertEquals(12, MemoryModel.bytes(newBase, "w").length);
  }

  @Test
  void additionsGoToTheEndOfTheLastShard() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("w", Shape.of(1), 1).build();
    MemoryModel tuned =
        MemoryModel.named("t").f32("w", Shape.of(1), 2).raw("extra.b", DType.U8, Shape.of(2), new byte[] {8, 9}).f32("extra.a", Shape.of(1), 7).build();
    MemoryModel newBase = MemoryModel.named("n").metadata(Map.of("format", "pt")).f32("w", Shape.of(1), 10).nextShard().f32("v", Shape.of(1), 20).build();
    MergeOptions extra = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS);
    ModelVersion ported = Patch.from(tuned, base, extra).applyTo(newBase, extra);
    assertEquals(List.of("w", "v", "extra.a", "extra.b"), ported.tensors().stream().map(TensorInfo::name).toList());
    assertEquals(2, ported.shards().size());
    assertEquals(List.of("v", "extra.a", "extra.b"), ported.shards().get(1).tensors().stream().map(TensorInfo::name).toList());
    assertEquals(newBase.shards().get(1).fileName(), ported.shards().get(1).fileName());
    assertEquals(newBase.shards().get(1).metadata(), ported.shards().get(1).metadata());
    assertArrayEquals(new double[] {11}, MemoryModel.values(ported, "w"));
    assertArrayEquals(new double[] {20}, MemoryModel.values(ported, "v"));
    assertArrayEquals(new double[] {7}, MemoryModel.values(ported, "extra.a"));
    assertArrayEquals(new byte[] {8, 9}, MemoryModel.bytes(ported, "extra.b"));
  }

  @Test
  void aReplacementOfWhatTheBaseHadIsNoAddition() {
    MemoryModel base = MemoryModel.named("b").f32("w", Shape.of(1), 1).f32("gone", Shape.of(1), 1).build();
    MemoryModel newBase = MemoryModel.named("n").f32("w", Shape.of(1), 1).build();
    Patch patch =
        Patch.of(Map.of("gone", new Delta.Replacement(base.tensor("gone").orElseThrow())), Optional.of(PatchBase.of(base)), "p");
    IncompatibleModelException e =
        assertThrows(
            IncompatibleModelException.class, () -> patch.applyTo(newBase, MergeOptions.defaults().allow(Allow.EXTRA_TENSORS)));
    assertEquals(Optional.of(Allow.MISSING_TENSORS), e.mismatches().get(0).allowedBy());
  }

  @Test
  void allButTheValuesIsTheNewBases() throws IOException {
    MemoryModel newBase = MemoryModel.named("n").config("a", "b").f32("w", Shape.of(1), 1).tensor("v", DType.BF16, Shape.of(1), 5).build();
    PatchedModel ported = (PatchedModel) patch(new Delta.Dense(MemoryModel.tensor(DType.F64, Shape.of(1), 2))).applyTo(newBase);
    assertEquals(newBase.shards(), ported.shards());
    assertEquals(newBase.tensors(), ported.tensors());
    assertEquals(newBase.config(), ported.config());
    assertEquals(newBase.name(), ported.name());
    assertEquals(newBase.sideFiles(), ported.sideFiles());
    assertSame(newBase, ported.newBase());
    assertTrue(ported.changes("w"));
    assertEquals(false, ported.changes("v"));
    assertEquals(Optional.empty(), ported.find("x"));
    assertArrayEquals(new double[] {5}, MemoryModel.values(ported, "v"));
  }

  @Test
  void changeUnderneathAnyInputIsNoticed() throws IOException {
    for (int which = 0; which < 3; which++) {
      MemoryModel base = MemoryModel.named("b").f32("w", Shape.of(1), 1).build();
      MemoryModel tuned = MemoryModel.named("t").f32("w", Shape.of(1), 2).build();
      MemoryModel newBase = MemoryModel.named("n").f32("w", Shape.of(1), 10).build();
      ModelVersion ported = Patch.from(tuned, base).applyTo(newBase);
      ported.verifyUnchanged();
      List.of(base, tuned, newBase).get(which).change();
      assertThrows(IOException.class, ported::verifyUnchanged);
    }
  }

  private static void assertAdded(DType type, Shape shape, Delta delta, double[] change) throws IOException {
    MemoryModel newBase = newBase(type, shape);
    ModelVersion ported = patch(delta).applyTo(newBase);
    assertReads(added(type, MemoryModel.values(newBase, "w"), change), ported);
  }

  private static void assertReads(byte[] expected, ModelVersion ported) throws IOException {
    byte[] found = MemoryModel.bytes(ported, ported.tensors().get(0).name());
    int differs = Arrays.mismatch(expected, found);
    assertEquals(-1, differs, () -> "the first of " + expected.length + " bytes that differs");
  }

  /** Weights plus changes as the contract says, one by one. */
  private static byte[] added(DType type, double[] weights, double[] change) {
    double[] sums = new double[weights.length];
    for (int i = 0; i < weights.length; i++) {
      sums[i] = type == DType.F64 ? weights[i] + change[i] : (float) weights[i] + (float) change[i];
      if (change[i] == 0) {
        sums[i] = weights[i];
      }
    }
    return Codes.bytes(type, sums);
  }

  private static double[] minus(double[] tuned, double[] base) {
    return IntStream.range(0, tuned.length).mapToDouble(i -> (float) tuned[i] - (float) base[i]).toArray();
  }

  private static double[] product(Tensor b, Tensor a, int rows, int rank, int columns) throws IOException {
    double[] left = MemoryModel.values(b);
    double[] right = MemoryModel.values(a);
    double[] product = new double[rows * columns];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        float sum = 0;
        for (int k = 0; k < rank; k++) {
          float one = (float) left[row * rank + k] * (float) right[k * columns + column];
          sum += one;
        }
        product[row * columns + column] = sum;
      }
    }
    return product;
  }

  private static Rounding count(ModelVersion ported) throws IOException {
    TensorInfo info = ported.tensors().get(0);
    return ((PatchedModel) ported).readCounting(info, 0, ByteBuffer.allocate((int) info.bytes()));
  }

  private static ModelVersion ported(DType type, Shape shape, Delta delta, MergeOptions options) {
    return patch(delta).applyTo(newBase(type, shape), options);
  }

  private static MemoryModel newBase(DType type, Shape shape) {
    return newBase("w", type, shape);
  }

  private static MemoryModel newBase(String name, DType type, Shape shape) {
    return type.isArithmetic()
        ? MemoryModel.named("new base").random(name, type, shape, 1, 99).build()
        : MemoryModel.named("new base").raw(name, type, shape, new byte[(int) shape.elements() * type.bytes()]).build();
  }

  private static Tensor raw(DType type, Shape shape, byte[] bytes) {
    return MemoryModel.named("raw").raw("t", type, shape, bytes).build().tensor("t").orElseThrow();
  }

  private static Patch patch(Delta delta) {
    return Patch.of(Map.of("w", delta), Optional.empty(), "p");
  }

  private static Patch headPatch(Delta delta) {
    return Patch.of(Map.of("lm_head.weight", delta), Optional.empty(), "p");
  }
}
