package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trio;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A patch that is read back does what the patch that was written does, bit for bit. */
class PatchFileRoundTripTest {
  @TempDir Path dir;

  private int files;

  private Path save(Patch patch) throws IOException {
    Path file = dir.resolve("p" + files++ + ".patch.safetensors");
    PatchFile.write(patch, file, WriteOptions.defaults().withThreads(2));
    return file;
  }

  /** Saves and reads {@code patch}, and applies both to each model. */
  private void assertSame(Patch patch, MergeOptions options, ModelVersion... models) throws IOException {
    try (PatchFile file = PatchFile.open(save(patch))) {
      for (ModelVersion model : models) {
        Fingerprint expected = Fingerprint.of(patch.applyTo(model, options));
        assertEquals(expected, Fingerprint.of(file.patch().applyTo(model, options)), model.name());
      }
      assertEquals(patch.recipe(), file.patch().recipe());
    }
  }

  private void assertSame(Patch patch, ModelVersion... models) throws IOException {
    assertSame(patch, MergeOptions.defaults(), models);
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16", "F32", "F64"})
  void aDifferenceIsKept(DType type) throws IOException {
    Trio trio = Trio.of(type);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());

    assertSame(patch, trio.base(), trio.newBase());
    assertFalse(Fingerprint.of(patch.applyTo(trio.newBase())).equals(Fingerprint.of(trio.newBase())));
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F8_E4M3", "F8_E5M2"})
  void aDifferenceOfBytesIsKept(DType type) throws IOException {
    TestModel base = new TestModel("b").tensor("w", type, smallBytes(1), 8, 16);
    TestModel tuned = new TestModel("t").tensor("w", type, smallBytes(2), 8, 16);

    assertSame(Patch.from(tuned, base), base, new TestModel("n").tensor("w", type, smallBytes(3), 8, 16));
  }

  /** Elements that are finite in both 8-bit types, and whose sums are too. */
  private static byte[] smallBytes(int seed) {
    byte[] bytes = new byte[8 * 16];
    new Random(seed).nextBytes(bytes);
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] &= (byte) 0xcf;
    }
    return bytes;
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16", "F32", "F64"})
  void aDifferenceAppliesToModelsOfAnyType(DType type) throws IOException {
    for (DType other : List.of(DType.BF16, DType.F16, DType.F32, DType.F64)) {
      // Differences of narrower types are stored as float32, which is less than float64 weights take.
      if (other != DType.F64 || type == DType.F64) {
        assertSame(Patch.from(Trio.of(type).fineTuned(), Trio.of(type).base()), Trio.of(other).newBase());
      }
      assertSame(
          Patch.from(Trio.of(other).fineTuned(), Trio.of(type).base(), MergeOptions.defaults().allow(Allow.OTHER_DTYPES)),
          Trio.of(type).newBase(),
          Trio.of(other).newBase());
    }
  }

  @Test
  void zeroesInfinitiesAndNaNsAreKept() throws IOException {
    int[] bits = {
      0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, 0x3f800000, 0x7f7fffff
    };
    int count = bits.length * bits.length;
    ByteBuffer first = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer second = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      boolean finite = isFinite(bits[i / bits.length]) && isFinite(bits[i % bits.length]);
      first.putInt(bits[i / bits.length]);
      // A weight cannot become infinite or NaN; where one is already, it stays.
      second.putInt(finite || !isFinite(bits[i / bits.length]) ? bits[i % bits.length] : bits[i / bits.length]);
    }
    TestModel base = new TestModel("b").tensor("w", DType.F32, first.array(), count);
    TestModel tuned = new TestModel("t").tensor("w", DType.F32, second.array(), count);

    assertSame(Patch.from(tuned, base), MergeOptions.defaults().allow(Allow.OVERFLOW), base);
  }

  private static boolean isFinite(int bits) {
    return Float.isFinite(Float.intBitsToFloat(bits));
  }

  @ParameterizedTest
  @ValueSource(doubles = {-1, 0.5, 1.0 / 3, 0, 1e-30, -7})
  void aScaledPatchIsKept(double scale) throws IOException {
    Trio trio = Trio.of(DType.F32);

    assertSame(Patch.from(trio.fineTuned(), trio.base()).scaledBy(scale), trio.base(), trio.newBase());
  }

  @Test
  void partsSumsAndNegativesAreKept() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    Patch other = Patch.from(trio.newBase(), trio.base());

    assertSame(patch.negate(), trio.newBase());
    assertSame(patch.only("*q_proj*", "model.norm.weight"), trio.newBase());
    assertSame(patch.except("model.layers.0.*"), trio.newBase());
    assertSame(patch.plus(other), trio.base());
    assertSame(other.plus(patch), trio.base());
    assertSame(patch.scaledBy(0.7).plus(other.scaledBy(-0.1)).plus(patch).scaledBy(3), trio.base());
    assertSame(patch.plus(patch.negate()), trio.base());
  }

  private static Tensor tensor(DType type, long seed, long... shape) {
    TestModel model = new TestModel("values " + seed).random("x", type, seed, 1, shape);
    return model.tensor("x").orElseThrow();
  }

  private static Patch of(String tensor, Delta delta) {
    return Patch.of(Map.of(tensor, delta), Optional.empty(), "by hand");
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16", "F32", "F64"})
  void lowRankChangesAreKept(DType type) throws IOException {
    TestModel matrix = new TestModel("m").random("w", DType.F32, 1, 1, 12, 20);
    TestModel kernel = new TestModel("k").random("w", DType.F32, 2, 1, 12, 5, 2, 2);
    Tensor b = tensor(type, 3, 12, 4);
    Tensor a = tensor(type, 4, 4, 20);

    assertSame(of("w", new Delta.LowRank(b, a, 2.0 / 3, false, Shape.of(12, 20))), matrix);
    assertSame(of("w", new Delta.LowRank(b, a, 2, false, Shape.of(12, 20))).scaledBy(0.1), matrix);
    assertSame(of("w", new Delta.LowRank(tensor(type, 5, 20, 4), tensor(type, 6, 4, 12), 0.3, true, Shape.of(12, 20))), matrix);
    assertSame(of("w", new Delta.LowRank(tensor(type, 7, 12, 4, 1, 1), tensor(type, 8, 4, 5, 2, 2), 0.5, false, Shape.of(12, 5, 2, 2))),
        kernel);
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"BF16", "F16", "F32", "F64"})
  void rowsAreKept(DType type) throws IOException {
    TestModel model = new TestModel("m").random("w", type, 1, 1, 30, 7);
    ImmutableLongArray indices = ImmutableLongArray.of(29, 0, 13, 12);
    Tensor base = tensor(type, 2, 30, 7);

    assertSame(of("w", new Delta.Rows(indices, tensor(type, 3, 4, 7), Optional.empty(), Shape.of(30, 7))), model);
    assertSame(of("w", new Delta.Rows(indices, tensor(type, 3, 4, 7), Optional.of(base), Shape.of(30, 7))), model);
    assertSame(of("w", new Delta.Rows(indices, tensor(DType.F32, 3, 4, 7), Optional.of(base), Shape.of(30, 7))).scaledBy(0.3), model);
    assertSame(of("w", new Delta.RowReplacement(indices, tensor(DType.F32, 3, 4, 7), Shape.of(30, 7))), model);
    assertSame(of("w", new Delta.Rows(ImmutableLongArray.of(), tensor(type, 3, 0, 7), Optional.empty(), Shape.of(30, 7))), model);
  }

  @Test
  void replacementsAreKept() throws IOException {
    TestModel model = new TestModel("m").random("w", DType.BF16, 1, 1, 6, 7).random("ids", DType.I64, 2, 100, 3)
        .random("s", DType.F32, 3, 1);
    Patch patch =
        Patch.of(
            Map.of(
                "w", new Delta.Replacement(tensor(DType.F32, 4, 6, 7)),
                "ids", new Delta.Replacement(tensor(DType.I64, 5, 3)),
                "s", new Delta.Replacement(tensor(DType.F64, 6))),
            Optional.empty(),
            "replaced");

    assertSame(patch, model);
  }

  @Test
  void additionsAreKept() throws IOException {
    Trio trio = Trio.of(DType.F16);
    TestModel tuned = trio.fineTuned().random("score.weight", DType.F32, 1, 1, 3, 16).random("score.ids", DType.I32, 1, 1, 3);
    MergeOptions options = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS);
    Patch patch = Patch.from(tuned, trio.base(), options);

    assertSame(patch, options, trio.newBase());
    try (PatchFile file = PatchFile.open(save(patch))) {
      assertTrue(file.patch().applyTo(trio.newBase(), options).find("score.ids").isPresent());
      assertThrows(IncompatibleModelException.class, () -> file.patch().applyTo(trio.newBase()));
    }
  }

  @Test
  void sumsOfAllKindsAreKeptInTheirOrder() throws IOException {
    TestModel model = new TestModel("m").random("w", DType.F32, 1, 1, 12, 20);
    Delta dense = new Delta.Dense(tensor(DType.F32, 2, 12, 20));
    Delta difference = new Delta.Difference(tensor(DType.F32, 3, 12, 20), tensor(DType.F32, 4, 12, 20));
    Delta product = new Delta.LowRank(tensor(DType.F32, 5, 12, 4), tensor(DType.F32, 6, 4, 20), 1.5, false, Shape.of(12, 20));
    Delta rows = new Delta.Rows(ImmutableLongArray.of(3, 1), tensor(DType.F32, 7, 2, 20), Optional.empty(), Shape.of(4, 20));
    Delta based = new Delta.Rows(ImmutableLongArray.of(11), tensor(DType.F32, 8, 1, 20), Optional.of(tensor(DType.F32, 9, 12, 20)),
        Shape.of(12, 20));
    List<Delta> kinds = List.of(dense, difference, product, rows, based);

    for (int turn = 0; turn < kinds.size(); turn++) {
      List<Delta.Term> terms = new ArrayList<>();
      for (int i = 0; i < kinds.size(); i++) {
        terms.add(new Delta.Term(i - 1.1, kinds.get((turn + i) % kinds.size())));
      }
      assertSame(of("w", new Delta.Sum(terms)), model);
    }
    // A difference that is zero is left out of a sum, and what follows it is not.
    Tensor same = tensor(DType.F32, 3, 12, 20);
    assertSame(of("w", new Delta.Sum(
        List.of(new Delta.Term(1, new Delta.Difference(same, same)), new Delta.Term(2, product), new Delta.Term(1, rows)))), model);
  }

  @Test
  void aProductOfFewerRowsThanTheRestIsKept() throws IOException {
    TestModel model = new TestModel("m").random("lm_head.weight", DType.F32, 1, 1, 16, 20);
    Delta product = new Delta.LowRank(tensor(DType.F32, 5, 12, 4), tensor(DType.F32, 6, 4, 20), 1.5, false, Shape.of(12, 20));
    Delta rows = new Delta.Rows(ImmutableLongArray.of(15), tensor(DType.F32, 7, 1, 20), Optional.empty(), Shape.of(16, 20));

    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);

    assertSame(of("lm_head.weight", new Delta.Sum(List.of(new Delta.Term(1, product), new Delta.Term(1, rows)))), options, model);
    assertSame(of("lm_head.weight", new Delta.Sum(List.of(new Delta.Term(1, rows), new Delta.Term(1, product)))), options, model);
  }

  @Test
  void aVocabularyThatGrewIsKept() throws IOException {
    TestModel base = new TestModel("b").random("embed_tokens.weight", DType.F32, 1, 1, 10, 4)
        .random("lm_head.weight", DType.F32, 2, 1, 10, 4);
    TestModel tuned = new TestModel("t").random("embed_tokens.weight", DType.F32, 3, 1, 12, 4)
        .random("lm_head.weight", DType.F32, 4, 1, 12, 4);
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);

    assertSame(Patch.from(tuned, base, options), options, base, tuned);
    assertSame(Patch.from(base, tuned, options), options, base, tuned);
  }

  @Test
  void tensorsOfManyRunsAreKept() throws IOException {
    int elements = 3_000_001;
    TestModel base = new TestModel("b").random("w", DType.BF16, 1, 1, elements);
    TestModel tuned = new TestModel("t").random("w", DType.BF16, 2, 1, elements);

    assertSame(Patch.from(tuned, base), tuned);
  }

  @Test
  void aPatchOfNothingLeavesTheModelAsItIs() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    Patch patch = Patch.from(trio.base(), trio.base());

    try (PatchFile file = PatchFile.open(save(patch))) {
      assertEquals(Map.of(), file.patch().deltas());
      assertEquals(Fingerprint.of(trio.newBase()), Fingerprint.of(file.patch().applyTo(trio.newBase())));
    }
  }

  @Test
  void namesOfAnyKindAreKept() throws IOException {
    TestModel base = new TestModel("b");
    TestModel tuned = new TestModel("t");
    for (String name : List.of("../x", "w", "w.0.delta", "w.0", "", "q\"uote\\", "new\nline", "\u202e", "x".repeat(4096), "日本")) {
      base.random(name, DType.F32, name.length(), 1, 3);
      tuned.random(name, DType.F32, name.length() + 1, 1, 3);
    }

    assertSame(Patch.from(tuned, base), base);
    try (PatchFile file = PatchFile.open(save(Patch.from(tuned, base)))) {
      assertEquals(Set.copyOf(base.names()), file.patch().deltas().keySet());
    }
  }

  /** What is refused before is refused after, with the same options allowing it. */
  @Test
  void mismatchesAreFoundAfterLoadingToo() throws IOException {
    Trio trio = Trio.of(DType.F32);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    TestModel other =
        new TestModel("other")
            .config("tie_word_embeddings", "false")
            .random("model.embed_tokens.weight", DType.F32, 1, 1, 50, 16)
            .random("lm_head.weight", DType.F32, 1, 1, 50, 16)
            .random("model.norm.weight", DType.F32, 1, 1, 16)
            .random("model.layers.0.self_attn.q_proj.weight", DType.I32, 1, 1, 16, 16)
            .random("model.layers.0.self_attn.q_proj.bias", DType.F32, 1, 1, 17)
            .random("model.layers.0.input_layernorm.weight", DType.F32, 1, 1, 17)
            .random("model.layers.0.mlp.up_proj.weight", DType.F32, 1, 1, 16, 24)
            .random("model.layers.2.mlp.up_proj.weight", DType.F32, 1, 1, 24, 16);
    TestModel tied = trio.newBase().resharded(Trio.names().subList(0, Trio.names().size() - 1), 1).config("tie_word_embeddings", "true");

    try (PatchFile file = PatchFile.open(save(patch))) {
      for (TestModel model : List.of(other, tied)) {
        Map<String, Optional<Allow>> before = mismatches(patch, model);
        assertEquals(before, mismatches(file.patch(), model));
        assertFalse(before.isEmpty());
      }
      MergeOptions all = MergeOptions.defaults().allow(Allow.values());
      IncompatibleModelException still = assertThrows(IncompatibleModelException.class, () -> file.patch().applyTo(other, all));
      assertEquals(List.of("model.layers.0.self_attn.q_proj.weight"), still.mismatches().stream().map(Mismatch::tensor).toList());
    }
  }

  private static Map<String, Optional<Allow>> mismatches(Patch patch, ModelVersion model) {
    IncompatibleModelException refusal = assertThrows(IncompatibleModelException.class, () -> patch.applyTo(model));
    return refusal.mismatches().stream()
        .collect(Collectors.toMap(Mismatch::tensor, Mismatch::allowedBy, (one, two) -> one, TreeMap::new));
  }

  @Test
  void aPatchWithoutABaseStaysOneWithoutABase() throws IOException {
    Patch patch = of("w", new Delta.Dense(tensor(DType.F32, 1, 3)));

    try (PatchFile file = PatchFile.open(save(patch))) {
      assertEquals(Optional.empty(), file.patch().base());
    }
  }

  @Test
  void aRecordedBaseIsKeptWithoutItsModel() throws IOException {
    Trio trio = Trio.of(DType.F32);
    PatchBase record = PatchBase.of(trio.base());
    PatchBase bare = new PatchBase(record.name(), Optional.empty(), record.tying(), record.tensors(), Map.of(), Optional.empty());
    Patch patch = Patch.of(Patch.from(trio.fineTuned(), trio.base()).deltas(), Optional.of(bare), "from afar");

    try (PatchFile file = PatchFile.open(save(patch))) {
      PatchBase found = file.patch().base().orElseThrow();
      assertEquals(Optional.empty(), found.fingerprint());
      assertEquals(Map.of(), found.digests());
      assertEquals(Set.copyOf(bare.tensors()), Set.copyOf(found.tensors()));
    }
  }
}
