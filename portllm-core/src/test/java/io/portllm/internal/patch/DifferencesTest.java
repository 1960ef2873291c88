package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class DifferencesTest {
  private static final Shape TWO = Shape.of(2);

  /** Each tensor is wrong in its own way. */
  private static final MemoryModel BASE =
      MemoryModel.named("/m/base\u202e")
          .f32("same", TWO, 1, 2)
          .f32("missing", TWO, 1, 2)
          .f32("shape", TWO, 1, 2)
          .f32("lm_head.weight", Shape.of(2, 1), 1, 2)
          .f32("dtype", TWO, 1, 2)
          .raw("kind", DType.I32, TWO, new byte[8])
          .tensor("byte", DType.F8_E4M3, TWO, 1, 2)
          .tensor("scaled", DType.F8_E5M2, TWO, 1, 2)
          .f32("scaled_scale_inv", Shape.of(), 1)
          .build();

  private static final MemoryModel TUNED =
      MemoryModel.named("/m/tuned")
          .f32("same", TWO, 1, 3)
          .f32("shape", Shape.of(2, 1), 1, 2)
          .f32("lm_head.weight", Shape.of(3, 1), 5, 5, 5)
          .tensor("dtype", DType.BF16, TWO, 1, 3)
          .f32("kind", TWO, 1, 2)
          .f32("byte", TWO, 1, 2)
          .tensor("scaled", DType.F8_E5M2, TWO, 1, 2)
          .f32("scaled_scale_inv", Shape.of(), 1)
          .f32("extra", Shape.of(1), 7)
          .build();

  @Test
  void everyMismatchIsListedAtOnce() {
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> Patch.from(TUNED, BASE));
    assertEquals(
        "'/m/tuned' is no fine-tune of '/m/base\\u202e': "
            + "tensor 'missing': is in the base but not in the fine-tuned model (allowed by missing-tensors); "
            + "tensor 'shape': is [2] in the base and [2, 1] in the fine-tuned model (allowed by other-shapes); "
            + "tensor 'lm_head.weight': has 2 rows in the base and 3 in the fine-tuned model (allowed by other-vocabulary); "
            + "tensor 'dtype': is F32 in the base and BF16 in the fine-tuned model (allowed by other-dtypes); "
            + "tensor 'kind': is I32 in the base and F32 in the fine-tuned model; "
            + "tensor 'byte': is F8_E4M3 in the base and F32 in the fine-tuned model; "
            + "tensor 'scaled': F8_E5M2 weights scaled by 'scaled_scale_inv' cannot be subtracted; "
            + "tensor 'extra': is in the fine-tuned model but not in the base (allowed by extra-tensors)",
        e.getMessage());
  }

  @Test
  void eachOptionLetsItsKindPassAndNoOther() {
    Set<String> always = Set.of("kind", "byte", "scaled");
    for (Allow allow : Allow.values()) {
      IncompatibleModelException e =
          assertThrows(IncompatibleModelException.class, () -> Patch.from(TUNED, BASE, MergeOptions.defaults().allow(allow)));
      for (Mismatch mismatch : e.mismatches()) {
        assertTrue(!mismatch.allowedBy().equals(Optional.of(allow)), mismatch::toString);
        assertEquals(always.contains(mismatch.tensor()), mismatch.allowedBy().isEmpty());
      }
      boolean matters = EnumSet.of(Allow.MISSING_TENSORS, Allow.OTHER_SHAPES, Allow.OTHER_VOCABULARY, Allow.OTHER_DTYPES, Allow.EXTRA_TENSORS).contains(allow);
      assertEquals(matters ? 7 : 8, e.mismatches().size());
    }
    IncompatibleModelException e =
        assertThrows(IncompatibleModelException.class, () -> Patch.from(TUNED, BASE, MergeOptions.defaults().allow(Allow.values())));
    assertEquals(always, e.mismatches().stream().map(Mismatch::tensor).collect(Collectors.toSet()));
  }

  @Test
  void missingTensorsCountAsUnchanged() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).f32("gone", TWO, 3, 4).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", TWO, 1, 3).build();
    Patch patch = Patch.from(tuned, base, MergeOptions.defaults().allow(Allow.MISSING_TENSORS));
    assertEquals(Set.of("w"), patch.deltas().keySet());
    assertArrayEquals(new double[] {3, 4}, MemoryModel.values(patch.applyTo(base), "gone"));
  }

  @Test
  void tensorsOfOtherShapesCountAsUnchanged() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).f32("v", TWO, 3, 4).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", TWO, 1, 3).f32("v", Shape.of(2, 1), 5, 6).build();
    Patch patch = Patch.from(tuned, base, MergeOptions.defaults().allow(Allow.OTHER_SHAPES));
    assertEquals(Set.of("w"), patch.deltas().keySet());
    assertArrayEquals(new double[] {3, 4}, MemoryModel.values(patch.applyTo(base), "v"));
  }

  @Test
  void transposedTensorsAreOtherShapes() {
    MemoryModel base = MemoryModel.named("b").f32("lm_head.weight", Shape.of(2, 3), 1, 2, 3, 4, 5, 6).build();
    MemoryModel tuned = MemoryModel.named("t").f32("lm_head.weight", Shape.of(3, 2), 1, 2, 3, 4, 5, 6).build();
    assertRefused(() -> Patch.from(tuned, base), "lm_head.weight", Optional.of(Allow.OTHER_SHAPES));
  }

  @Test
  void rowsThatBothVocabulariesHaveAreCompared() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("lm_head.weight", Shape.of(3, 1), 1, 2, 3).build();
    MemoryModel more = MemoryModel.named("t").f32("lm_head.weight", Shape.of(4, 1), 2, 4, 6, 8).build();
    MemoryModel fewer = MemoryModel.named("t").f32("lm_head.weight", Shape.of(2, 1), 2, 4).build();
    MemoryModel newBase = MemoryModel.named("n").f32("lm_head.weight", Shape.of(5, 1), 10, 20, 30, 40, 50).build();
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    for (MemoryModel tuned : List.of(more, fewer)) {
      assertRefused(() -> Patch.from(tuned, base), "lm_head.weight", Optional.of(Allow.OTHER_VOCABULARY));
      Patch patch = Patch.from(tuned, base, options);
      assertRefused(() -> patch.applyTo(newBase), "lm_head.weight", Optional.of(Allow.OTHER_VOCABULARY));
    }
    assertArrayEquals(
        new double[] {11, 22, 33, 40, 50}, MemoryModel.values(Patch.from(more, base, options).applyTo(newBase, options), "lm_head.weight"));
    assertArrayEquals(
        new double[] {11, 22, 30, 40, 50}, MemoryModel.values(Patch.from(fewer, base, options).applyTo(newBase, options), "lm_head.weight"));
  }

  @Test
  void aVocabularyIsToldByName() {
    MemoryModel base = MemoryModel.named("b").f32("w", Shape.of(3, 1), 1, 2, 3).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", Shape.of(4, 1), 2, 4, 6, 8).build();
    assertRefused(() -> Patch.from(tuned, base), "w", Optional.of(Allow.OTHER_SHAPES));
  }

  @Test
  void otherFloatingTypesAreSubtractedAsTheyAre() throws IOException {
    MemoryModel base = MemoryModel.named("b").tensor("w", DType.BF16, TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", TWO, 1 + 0x1p-20, 2.5).build();
    MemoryModel newBase = MemoryModel.named("n").f32("w", TWO, 0, 10).build();
    Patch patch = Patch.from(tuned, base, MergeOptions.defaults().allow(Allow.OTHER_DTYPES));
    assertArrayEquals(new double[] {0x1p-20, 10.5}, MemoryModel.values(patch.applyTo(newBase), "w"));
  }

  @Test
  void extraTensorsBecomeAdditions() {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", TWO, 1, 2).raw("i", DType.I64, Shape.of(), new byte[8]).build();
    assertRefused(() -> Patch.from(tuned, base), "i", Optional.of(Allow.EXTRA_TENSORS));
    Patch patch = Patch.from(tuned, base, MergeOptions.defaults().allow(Allow.EXTRA_TENSORS));
    assertEquals(new Delta.Replacement(tuned.tensor("i").orElseThrow()), patch.deltas().get("i"));
  }

  @Test
  void namesThatDifferInCaseOrCompositionAreDifferentTensors() {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).f32("\u00e9", TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").f32("W", TWO, 1, 2).f32("e\u0301", TWO, 1, 2).build();
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> Patch.from(tuned, base));
    assertEquals(4, e.mismatches().size());
  }

  @Test
  void orderAndShardsDoNotMatter() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).f32("v", TWO, 3, 4).build();
    MemoryModel tuned = MemoryModel.named("t").f32("v", TWO, 3, 5).nextShard().f32("w", TWO, 1, 3).build();
    MemoryModel newBase = MemoryModel.named("n").f32("w", TWO, 10, 10).nextShard().f32("v", TWO, 10, 10).build();
    ModelVersion ported = Patch.from(tuned, base).applyTo(newBase);
    assertArrayEquals(new double[] {10, 11}, MemoryModel.values(ported, "w"));
    assertArrayEquals(new double[] {10, 11}, MemoryModel.values(ported, "v"));
  }

  @Test
  void scalarAndEmptyTensorsHaveDifferences() throws IOException {
    MemoryModel base = MemoryModel.named("b").f32("s", Shape.of(), 1).f32("e", Shape.of(0, 3)).build();
    MemoryModel tuned = MemoryModel.named("t").f32("s", Shape.of(), 2).f32("e", Shape.of(0, 3)).build();
    ModelVersion ported = Patch.from(tuned, base).applyTo(base);
    assertArrayEquals(new double[] {2}, MemoryModel.values(ported, "s"));
    assertArrayEquals(new double[0], MemoryModel.values(ported, "e"));
  }

  @Test
  void integersThatDidNotChangeAreKept() throws IOException {
    MemoryModel base = integers("b", 1, 2, 3);
    MemoryModel newBase = integers("n", 9, 9, 9, 9, 9);
    ModelVersion ported = Patch.from(integers("t", 1, 2, 3), base).applyTo(newBase, MergeOptions.defaults().allow(Allow.OTHER_SHAPES));
    assertArrayEquals(new byte[] {9, 9, 9, 9, 9}, MemoryModel.bytes(ported, "ids"));
  }

  @Test
  void integersThatChangedAreRefusedWhenTheyAreRead() throws IOException {
    MemoryModel base = MemoryModel.named("b").raw("ids", DType.I64, TWO, new byte[16]).f32("w", TWO, 1, 2).build();
    byte[] other = new byte[16];
    other[13] = 1;
    MemoryModel tuned = MemoryModel.named("t").raw("ids", DType.I64, TWO, other).f32("w", TWO, 1, 3).build();
    ModelVersion ported = Patch.from(tuned, base).applyTo(base);
    assertArrayEquals(new double[] {1, 3}, MemoryModel.values(ported, "w"));
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(ported, "ids"));
    assertEquals(
        "'t' is no fine-tune of 'b': tensor 'ids': is of type I64, which must not change, but differs at byte 13", e.getMessage());
    assertEquals(false, ((PatchedModel) ported).changes("ids"));
    assertArrayEquals(new double[] {1, 3}, MemoryModel.values(Patch.from(tuned, base).except("ids").applyTo(base), "w"));
  }

  @Test
  void everyByteOfALargeIntegerTensorIsCompared() throws IOException {
    int size = 3 * (512 << 10) + 17;
    for (int where : new int[] {0, (512 << 10) - 1, 512 << 10, size - 1}) {
      byte[] other = new byte[size];
      other[where] = 1;
      MemoryModel base = MemoryModel.named("b").raw("mask", DType.BOOL, Shape.of(size), new byte[size]).build();
      MemoryModel tuned = MemoryModel.named("t").raw("mask", DType.BOOL, Shape.of(size), other).build();
      ModelVersion ported = Patch.from(tuned, base).applyTo(base);
      IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(ported, "mask"));
      assertTrue(e.getMessage().endsWith("at byte " + where), e.getMessage());
    }
  }

  @Test
  void integersOfAnotherVocabularyAreComparedAsFarAsBothGo() throws IOException {
    MergeOptions options = MergeOptions.defaults().allow(Allow.OTHER_VOCABULARY);
    MemoryModel base = MemoryModel.named("b").raw("lm_head.weight", DType.U8, Shape.of(4, 1), new byte[] {1, 2, 3, 4}).build();
    MemoryModel fewer = MemoryModel.named("t").raw("lm_head.weight", DType.U8, Shape.of(2, 1), new byte[] {1, 2}).build();
    MemoryModel more = MemoryModel.named("t").raw("lm_head.weight", DType.U8, Shape.of(5, 1), new byte[] {1, 2, 3, 4, 5}).build();
    for (MemoryModel tuned : List.of(fewer, more)) {
      ModelVersion ported = Patch.from(tuned, base, options).applyTo(base, options);
      assertArrayEquals(new byte[] {1, 2, 3, 4}, MemoryModel.bytes(ported, "lm_head.weight"));
    }
    MemoryModel changed = MemoryModel.named("t").raw("lm_head.weight", DType.U8, Shape.of(2, 1), new byte[] {1, 3}).build();
    ModelVersion ported = Patch.from(changed, base, options).applyTo(base, options);
    assertThrows(IncompatibleModelException.class, () -> MemoryModel.bytes(ported, "lm_head.weight"));
  }

  @Test
  void scaledFp8IsRefusedNamingTheScalesOnEitherSide() {
    for (String scale : List.of("w_scale_inv", "w_scale", "w.scale", "w_scale_2")) {
      for (DType type : List.of(DType.F8_E4M3, DType.F8_E5M2)) {
        MemoryModel plain = MemoryModel.named("p").tensor("w", type, TWO, 1, 2).build();
        MemoryModel scaled = MemoryModel.named("s").tensor("w", type, TWO, 1, 2).f32(scale, Shape.of(), 1).build();
        MergeOptions extra = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS, Allow.MISSING_TENSORS);
        for (Executable extraction : List.<Executable>of(
            () -> Patch.from(scaled, scaled), () -> Patch.from(scaled, plain, extra), () -> Patch.from(plain, scaled, extra))) {
          IncompatibleModelException e = assertThrows(IncompatibleModelException.class, extraction);
          assertEquals("w", e.mismatches().get(0).tensor());
          assertEquals(type + " weights scaled by '" + scale + "' cannot be subtracted", e.mismatches().get(0).message());
        }
      }
    }
  }

  @Test
  void plainFp8IsSubtracted() throws IOException {
    MemoryModel base = MemoryModel.named("b").tensor("w", DType.F8_E4M3, TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").tensor("w", DType.F8_E4M3, TWO, 1.5, 2).build();
    MemoryModel newBase = MemoryModel.named("n").tensor("w", DType.BF16, TWO, 10, 20).build();
    assertArrayEquals(new double[] {10.5, 20}, MemoryModel.values(Patch.from(tuned, base).applyTo(newBase), "w"));
  }

  private static MemoryModel integers(String name, int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return MemoryModel.named(name).raw("ids", DType.I8, Shape.of(values.length), bytes).build();
  }

  private static void assertRefused(Executable refused, String tensor, Optional<Allow> allowedBy) {
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, refused);
    assertEquals(1, e.mismatches().size(), e.getMessage());
    assertEquals(tensor, e.mismatches().get(0).tensor());
    assertEquals(allowedBy, e.mismatches().get(0).allowedBy());
  }
}
