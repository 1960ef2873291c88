package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class FittingTest {
  private static final Shape TWO = Shape.of(2);

  private static final MemoryModel BASE =
      MemoryModel.named("base")
          .f32("same", TWO, 1, 2)
          .f32("missing", TWO, 1, 2)
          .f32("shape", TWO, 1, 2)
          .f32("lm_head.weight", Shape.of(2, 1), 1, 2)
          .f32("integer", TWO, 1, 2)
          .tensor("scaled", DType.F8_E4M3, TWO, 1, 2)
          .raw("i.missing", DType.I32, TWO, new byte[8])
          .raw("i.shape", DType.I32, TWO, new byte[8])
          .raw("i.dtype", DType.I32, TWO, new byte[8])
          .build();

  private static final MemoryModel TUNED =
      MemoryModel.named("tuned")
          .f32("same", TWO, 1, 3)
          .f32("missing", TWO, 1, 3)
          .f32("shape", TWO, 1, 3)
          .f32("lm_head.weight", Shape.of(2, 1), 1, 3)
          .f32("integer", TWO, 1, 3)
          .tensor("scaled", DType.F8_E4M3, TWO, 1, 3)
          .raw("i.missing", DType.I32, TWO, new byte[8])
          .raw("i.shape", DType.I32, TWO, new byte[8])
          .raw("i.dtype", DType.I32, TWO, new byte[8])
          .f32("added", Shape.of(1), 7)
          .build();

  private static final MemoryModel NEW_BASE =
      MemoryModel.named("/new/base\n")
          .f32("same", TWO, 10, 10)
          .f32("shape", Shape.of(2, 1), 10, 10)
          .f32("lm_head.weight", Shape.of(3, 1), 10, 10, 10)
          .raw("integer", DType.I8, TWO, new byte[2])
          .tensor("scaled", DType.F8_E4M3, TWO, 10, 10)
          .f32("scaled_scale", Shape.of(), 1)
          .raw("i.shape", DType.I32, Shape.of(3), new byte[12])
          .raw("i.dtype", DType.I64, TWO, new byte[16])
          .f32("new", Shape.of(1), 5)
          .build();

  private static final Patch PATCH = Patch.from(TUNED, BASE, MergeOptions.defaults().allow(Allow.EXTRA_TENSORS));

  @Test
  void everyMismatchIsListedAtOnce() {
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> PATCH.applyTo(NEW_BASE));
    assertEquals(
        "the patch 'tuned - base' does not fit '/new/base\\u000a': "
            + "tensor 'scaled_scale': is in the new base but not in the model that the patch was made on (allowed by extra-tensors); "
            + "tensor 'i.shape': is [2] in the patch and [3] in the new base (allowed by other-shapes); "
            + "tensor 'new': is in the new base but not in the model that the patch was made on (allowed by extra-tensors); "
            + "tensor 'i.missing': is in the model that the patch was made on but not in the new base (allowed by missing-tensors); "
            + "tensor 'added': is added by the patch (allowed by extra-tensors); "
            + "tensor 'i.dtype': is I32 in the model that the patch was made on and I64 in the new base; "
            + "tensor 'integer': is I8 in the new base, which cannot be changed; "
            + "tensor 'lm_head.weight': has 2 rows in the patch and 3 in the new base (allowed by other-vocabulary); "
            + "tensor 'missing': is changed by the patch but not in the new base (allowed by missing-tensors); "
            + "tensor 'scaled': F8_E4M3 weights scaled by 'scaled_scale' cannot be changed; "
            + "tensor 'shape': is [2] in the patch and [2, 1] in the new base (allowed by other-shapes)",
        e.getMessage());
  }

  @Test
  void eachOptionLetsItsKindPassAndNoOther() {
    Set<String> always = Set.of("integer", "scaled", "i.dtype");
    int all = 11;
    Map<Allow, Integer> kinds = Map.of(Allow.EXTRA_TENSORS, 3, Allow.MISSING_TENSORS, 2, Allow.OTHER_SHAPES, 2, Allow.OTHER_VOCABULARY, 1);
    for (Allow allow : EnumSet.allOf(Allow.class)) {
      IncompatibleModelException e =
          assertThrows(IncompatibleModelException.class, () -> PATCH.applyTo(NEW_BASE, MergeOptions.defaults().allow(allow)));
      assertEquals(all - kinds.getOrDefault(allow, 0), e.mismatches().size());
      for (Mismatch mismatch : e.mismatches()) {
        assertTrue(!mismatch.allowedBy().equals(Optional.of(allow)), mismatch::toString);
        assertEquals(always.contains(mismatch.tensor()), mismatch.allowedBy().isEmpty(), mismatch::toString);
      }
    }
  }

  @Test
  void whatIsAllowedIsLeftOutCopiedOrAdded() throws IOException {
    MergeOptions options =
        MergeOptions.defaults().allow(Allow.EXTRA_TENSORS, Allow.MISSING_TENSORS, Allow.OTHER_SHAPES, Allow.OTHER_VOCABULARY);
    ModelVersion ported = PATCH.except("integer", "scaled", "i.dtype").applyTo(NEW_BASE, options);
    assertArrayEquals(new double[] {10, 11}, MemoryModel.values(ported, "same"));
    assertArrayEquals(new double[] {10, 10}, MemoryModel.values(ported, "shape"));
    assertArrayEquals(new double[] {10, 11, 10}, MemoryModel.values(ported, "lm_head.weight"));
    assertArrayEquals(new double[] {5}, MemoryModel.values(ported, "new"));
    assertArrayEquals(new double[] {7}, MemoryModel.values(ported, "added"));
    List<String> expected = NEW_BASE.tensors().stream().map(TensorInfo::name).collect(Collectors.toList());
    expected.add("added");
    assertEquals(expected, ported.tensors().stream().map(TensorInfo::name).toList());
  }

  @Test
  void withoutABaseOnlyWhatThePatchTouchesIsCompared() throws IOException {
    Patch unbound = Patch.of(PATCH.only("same").deltas(), Optional.empty(), "unbound");
    assertArrayEquals(new double[] {10, 11}, MemoryModel.values(unbound.applyTo(NEW_BASE), "same"));
    Patch whole = Patch.of(PATCH.only("added").deltas(), Optional.empty(), "unbound");
    assertRefused(() -> whole.applyTo(NEW_BASE), "added", Optional.of(Allow.MISSING_TENSORS));
  }

  @Test
  void theNewBaseKeepsItsTypeWhateverTheBaseHad() throws IOException {
    MemoryModel newBase = MemoryModel.named("n").tensor("w", DType.BF16, TWO, 10, 10).build();
    MemoryModel base = MemoryModel.named("b").tensor("w", DType.F16, TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").tensor("w", DType.F16, TWO, 1, 3).build();
    ModelVersion ported = Patch.from(tuned, base).applyTo(newBase);
    assertEquals(newBase.tensors(), ported.tensors());
    assertArrayEquals(new double[] {10, 11}, MemoryModel.values(ported, "w"));
  }

  @Test
  void additionsThatTheNewBaseHasTooAreRefusedUnlessExtraTensorsAreAllowed() throws IOException {
    MemoryModel newBase = MemoryModel.named("n").f32("w", TWO, 10, 10).f32("added", Shape.of(1), 5).build();
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).build();
    MemoryModel tuned = MemoryModel.named("t").f32("w", TWO, 1, 3).f32("added", Shape.of(1), 7).build();
    MergeOptions extra = MergeOptions.defaults().allow(Allow.EXTRA_TENSORS);
    Patch patch = Patch.from(tuned, base, extra);
    assertRefused(() -> patch.applyTo(newBase), "added", Optional.of(Allow.EXTRA_TENSORS));
    ModelVersion ported = patch.applyTo(newBase, extra);
    assertArrayEquals(new double[] {7}, MemoryModel.values(ported, "added"));
    assertEquals(newBase.tensors(), ported.tensors());
  }

  @Test
  void rowsNeedNoMoreRowsThanTheyTouch() throws IOException {
    Tensor row = MemoryModel.tensor(DType.F32, Shape.of(1, 2), 1, 2);
    Delta rows = new Delta.Rows(ImmutableLongArray.of(2), row, Optional.empty(), Shape.of(3, 2));
    MemoryModel three = MemoryModel.named("n").f32("w", Shape.of(3, 2), 0, 0, 0, 0, 0, 0).build();
    MemoryModel four = MemoryModel.named("n").f32("w", Shape.of(4, 2), 0, 0, 0, 0, 0, 0, 0, 0).build();
    MemoryModel two = MemoryModel.named("n").f32("w", Shape.of(2, 2), 0, 0, 0, 0).build();
    MemoryModel wide = MemoryModel.named("n").f32("w", Shape.of(3, 3), new double[9]).build();
    assertArrayEquals(new double[] {0, 0, 0, 0, 1, 2}, MemoryModel.values(patch(rows).applyTo(three), "w"));
    assertArrayEquals(new double[] {0, 0, 0, 0, 1, 2, 0, 0}, MemoryModel.values(patch(rows).applyTo(four), "w"));
    assertRefused(() -> patch(rows).applyTo(two), "w", Optional.of(Allow.OTHER_SHAPES));
    assertRefused(() -> patch(rows).applyTo(wide), "w", Optional.of(Allow.OTHER_SHAPES));
    ModelVersion leftOut = patch(rows).applyTo(two, MergeOptions.defaults().allow(Allow.OTHER_SHAPES));
    assertArrayEquals(new double[4], MemoryModel.values(leftOut, "w"));
  }

  @Test
  void everyTermOfASumMustFit() throws IOException {
    Delta few = rows(0, 1);
    Delta more = rows(4, 5);
    MemoryModel three = MemoryModel.named("n").f32("w", Shape.of(3, 1), 0, 0, 0).build();
    for (Delta sum : List.of(sum(few, more), sum(more, few))) {
      assertRefused(() -> patch(sum).applyTo(three), "w", Optional.of(Allow.OTHER_SHAPES));
    }
    Delta dense = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(2, 1), 1, 2));
    for (Delta sum : List.of(sum(dense, rows(2, 3)), sum(rows(2, 3), dense))) {
      assertRefused(() -> patch(sum).applyTo(three), "w", Optional.of(Allow.OTHER_SHAPES));
    }
    Delta whole = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3, 1), 1, 2, 3));
    assertArrayEquals(new double[] {1, 2, 10}, MemoryModel.values(patch(sum(whole, rows(2, 3))).applyTo(three), "w"));
  }

  @Test
  void changesAreNotAddedToIntegersNorIntegersPutForFloats() throws IOException {
    MemoryModel integers = MemoryModel.named("n").raw("w", DType.U8, TWO, new byte[2]).build();
    MemoryModel floats = MemoryModel.named("n").f32("w", TWO, 1, 2).build();
    Tensor bytes = MemoryModel.named("u").raw("w", DType.U8, TWO, new byte[] {3, 4}).build().tensor("w").orElseThrow();
    Tensor signed = MemoryModel.named("u").raw("w", DType.I8, TWO, new byte[] {3, 4}).build().tensor("w").orElseThrow();
    Tensor values = MemoryModel.tensor(DType.F32, TWO, 1, 2);
    assertRefused(() -> patch(new Delta.Dense(values)).applyTo(integers), "w", Optional.empty());
    assertRefused(() -> patch(new Delta.Replacement(values)).applyTo(integers), "w", Optional.empty());
    assertRefused(() -> patch(new Delta.Replacement(signed)).applyTo(integers), "w", Optional.empty());
    assertRefused(() -> patch(new Delta.Replacement(bytes)).applyTo(floats), "w", Optional.empty());
    Delta row = new Delta.RowReplacement(ImmutableLongArray.of(0), MemoryModel.tensor(DType.F32, Shape.of(1), 1), TWO);
    assertRefused(() -> patch(row).applyTo(integers), "w", Optional.empty());
    assertArrayEquals(new byte[] {3, 4}, MemoryModel.bytes(patch(new Delta.Replacement(bytes)).applyTo(integers), "w"));
  }

  @Test
  void integerDemandsOfAnotherTypeInTheNewBaseAreRefused() {
    MemoryModel base = MemoryModel.named("b").raw("q", DType.I8, TWO, new byte[2]).build();
    MemoryModel newBase = MemoryModel.named("n").f32("q", TWO, 1, 2).build();
    assertRefused(() -> Patch.from(base, base).applyTo(newBase), "q", Optional.empty());
  }

  @Test
  void scaledFp8OfTheNewBaseIsRefusedForEveryKindOfChange() {
    MemoryModel newBase = MemoryModel.named("n").tensor("w", DType.F8_E4M3, TWO, 1, 2).f32("w_scale_inv", Shape.of(), 1).build();
    Tensor values = MemoryModel.tensor(DType.F8_E4M3, TWO, 1, 2);
    for (Delta delta : List.of(new Delta.Dense(values), new Delta.Difference(values, values), new Delta.Replacement(values))) {
      IncompatibleModelException e = assertThrows(IncompatibleModelException.class, () -> patch(delta).applyTo(newBase));
      assertEquals("F8_E4M3 weights scaled by 'w_scale_inv' cannot be changed", e.mismatches().get(0).message());
    }
  }

  @Test
  void aBaseThatThePatchDoesNotTouchIsComparedToo() {
    MemoryModel base = MemoryModel.named("b").f32("w", TWO, 1, 2).f32("untouched", TWO, 1, 2).build();
    MemoryModel newBase = MemoryModel.named("n").f32("w", TWO, 1, 2).f32("untouched", Shape.of(3), 1, 2, 3).build();
    Patch part = Patch.of(Map.of(), Optional.of(PatchBase.of(base)), "part");
    assertRefused(() -> part.applyTo(newBase), "untouched", Optional.of(Allow.OTHER_SHAPES));
  }

  private static Delta rows(int index, int count) {
    return new Delta.Rows(ImmutableLongArray.of(index), MemoryModel.tensor(DType.F32, Shape.of(1, 1), 7), Optional.empty(), Shape.of(count, 1));
  }

  private static Delta sum(Delta... deltas) {
    return new Delta.Sum(List.of(deltas).stream().map(delta -> new Delta.Term(1, delta)).toList());
  }

  private static Patch patch(Delta delta) {
    return Patch.of(Map.of("w", delta), Optional.empty(), "p");
  }

  private static void assertRefused(Executable refused, String tensor, Optional<Allow> allowedBy) {
    IncompatibleModelException e = assertThrows(IncompatibleModelException.class, refused);
    assertEquals(1, e.mismatches().size(), e.getMessage());
    assertEquals(tensor, e.mismatches().get(0).tensor());
    assertEquals(allowedBy, e.mismatches().get(0).allowedBy());
  }
}
