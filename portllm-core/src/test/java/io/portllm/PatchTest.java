package io.portllm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PatchTest {
  private final MemoryModel base =
      MemoryModel.named("/models/base").f32("x", Shape.of(2), 1, 2).f32("y", Shape.of(2), 3, 4).f32("z", Shape.of(1), 5).build();
  private final MemoryModel tuned =
      MemoryModel.named("/models/tuned").f32("x", Shape.of(2), 1.5, 2).f32("y", Shape.of(2), 3, 3).f32("z", Shape.of(1), 5).build();
  private final MemoryModel newBase =
      MemoryModel.named("/models/new").f32("x", Shape.of(2), 10, 20).f32("y", Shape.of(2), 30, 40).f32("z", Shape.of(1), 50).build();
  private final Patch patch = Patch.from(tuned, base);

  @Test
  void aPatchMovesWhatFineTuningChanged() throws IOException {
    assertPorted(patch, 10.5, 20, 30, 39, 50);
    assertEquals("tuned - base", patch.recipe());
    assertEquals(Set.of("x", "y", "z"), patch.deltas().keySet());
    assertEquals("base", patch.base().orElseThrow().name());
    assertEquals("Patch[tuned - base, 3 tensors]", patch.toString());
  }

  @Test
  void aPatchOnItsOwnBaseGivesTheFineTunedModel() throws IOException {
    ModelVersion back = patch.applyTo(base);
    for (TensorInfo tensor : tuned.tensors()) {
      assertArrayEquals(MemoryModel.bytes(tuned, tensor.name()), MemoryModel.bytes(back, tensor.name()));
    }
  }

  @Test
  void aModelDiffersFromItselfByNothing() throws IOException {
    assertPorted(Patch.from(base, base), 10, 20, 30, 40, 50);
  }

  @Test
  void aPatchWithoutChangesKeepsTheNewBaseBitForBit() throws IOException {
    ModelVersion ported = Patch.of(Map.of(), Optional.empty(), "empty").applyTo(newBase);
    for (TensorInfo tensor : newBase.tensors()) {
      assertArrayEquals(MemoryModel.bytes(newBase, tensor.name()), MemoryModel.bytes(ported, tensor.name()));
    }
  }

  @Test
  void scalingByOneIsTheSamePatch() {
    assertSame(patch, patch.scaledBy(1));
  }

  @Test
  void scalesMultiply() throws IOException {
    assertPorted(patch.scaledBy(4).scaledBy(0.5), 11, 20, 30, 38, 50);
    assertEquals("((tuned - base) * 4.0) * 0.5", patch.scaledBy(4).scaledBy(0.5).recipe());
    Delta.Sum twice = (Delta.Sum) patch.scaledBy(3).scaledBy(0.1).deltas().get("x");
    assertEquals(3 * 0.1, twice.terms().get(0).factor());
    assertPorted(patch.scaledBy(0), 10, 20, 30, 40, 50);
  }

  @Test
  void theOppositeOfAPatchTakesItBack() throws IOException {
    assertPorted(patch.negate(), 9.5, 20, 30, 41, 50);
    assertPorted(patch.negate().negate(), 10.5, 20, 30, 39, 50);
    ModelVersion back = patch.negate().applyTo(tuned);
    assertArrayEquals(MemoryModel.values(base, "y"), MemoryModel.values(back, "y"));
  }

  @Test
  void scalesMustBeFinite() {
    for (double scale : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
      assertThrows(IllegalArgumentException.class, () -> patch.scaledBy(scale));
    }
    Patch large = patch.scaledBy(1e200);
    assertThrows(IllegalArgumentException.class, () -> large.scaledBy(1e200));
  }

  @Test
  void theSumOfTwoPatchesChangesWhatEitherChanges() throws IOException {
    Patch sum = patch.only("x").plus(patch.except("x", "z").scaledBy(2));
    assertEquals(Set.of("x", "y"), sum.deltas().keySet());
    assertPorted(sum, 10.5, 20, 30, 38, 50);
    assertPorted(patch.plus(patch), 11, 20, 30, 38, 50);
    assertEquals("tuned - base + tuned - base", patch.plus(patch).recipe());
    assertEquals(patch.base(), patch.plus(patch).base());
  }

  @Test
  void aSumIsAddedInTheOrderOfItsPatches() throws IOException {
    Patch one = dense("x", 1, 0);
    Patch big = dense("x", 0x1p24, 0);
    // (1 + 2^24) - 2^24 loses the 1; (-2^24 + 2^24) + 1 keeps it.
    assertPorted(one.plus(big).plus(big.negate()), 10, 20, 30, 40, 50);
    assertPorted(big.negate().plus(big).plus(one), 11, 20, 30, 40, 50);
  }

  @Test
  void patchesOfDifferentBasesHaveNoCommonOne() {
    assertEquals(Optional.empty(), patch.plus(Patch.from(tuned, newBase)).base());
    assertEquals(Optional.empty(), patch.plus(dense("x", 1, 2)).base());
  }

  @Test
  void aBaseIsTheSameInWhateverOrderItsTensorsAre() throws IOException {
    PatchBase known = PatchBase.of(base);
    List<TensorInfo> turned = new ArrayList<>(base.tensors());
    Collections.reverse(turned);
    PatchBase loaded = new PatchBase("base", Optional.of(Fingerprint.of(base).digest()), known.tying(), turned, Map.of(), Optional.empty());
    assertTrue(known.describesSameModelAs(loaded));
    assertTrue(loaded.describesSameModelAs(known));
    assertEquals(Optional.of(known), patch.plus(Patch.of(patch.deltas(), Optional.of(loaded), "loaded")).base());
    assertFalse(known.describesSameModelAs(new PatchBase("other", Optional.empty(), known.tying(), turned, Map.of(), Optional.empty())));
    assertFalse(known.describesSameModelAs(new PatchBase("base", Optional.empty(), Tying.TIED, turned, Map.of(), Optional.empty())));
    assertFalse(known.describesSameModelAs(new PatchBase("base", Optional.empty(), known.tying(), turned.subList(1, 3), Map.of(), Optional.empty())));
    assertFalse(loaded.describesSameModelAs(known.with(Fingerprint.of(tuned))));
  }

  @Test
  void patchesOfOtherShapesCannotBeAdded() {
    Patch other = Patch.of(Map.of("x", new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(3), 1, 2, 3))), Optional.empty(), "other");
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> patch.plus(other));
    assertEquals("tensor 'x' is [2] in one patch and [3] in the other", e.getMessage());
    Patch transposed =
        Patch.of(Map.of("x", new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(2, 1), 1, 2))), Optional.empty(), "other");
    assertThrows(IllegalArgumentException.class, () -> patch.plus(transposed));
  }

  @Test
  void rowsAreAddedToWholeChangesThatHaveThem() throws IOException {
    Patch rows = rows(1, 2);
    Patch tooMany = rows(2, 3);
    assertPorted(patch.plus(rows), 10.5, 27, 30, 39, 50);
    assertPorted(rows.plus(patch), 10.5, 27, 30, 39, 50);
    assertPorted(rows.scaledBy(2).plus(patch), 10.5, 34, 30, 39, 50);
    assertPorted(patch.plus(rows.scaledBy(2)), 10.5, 34, 30, 39, 50);
    assertEquals(Shape.of(3), rows.plus(tooMany).deltas().get("x").shape());
    for (Patch few : List.of(patch, patch.scaledBy(2), patch.plus(rows))) {
      assertThrows(IllegalArgumentException.class, () -> few.plus(tooMany));
      assertThrows(IllegalArgumentException.class, () -> tooMany.plus(few));
      assertThrows(IllegalArgumentException.class, () -> tooMany.scaledBy(2).plus(few));
    }
  }

  @Test
  void rowsOfOtherColumnsCannotBeAdded() {
    Patch wide =
        Patch.of(
            Map.of(
                "x",
                new Delta.Rows(
                    ImmutableLongArray.of(0), MemoryModel.tensor(DType.F32, Shape.of(1, 2), 1, 2), Optional.empty(), Shape.of(1, 2))),
            Optional.empty(),
            "wide");
    assertThrows(IllegalArgumentException.class, () -> patch.plus(wide));
    assertThrows(IllegalArgumentException.class, () -> wide.plus(patch));
    assertThrows(IllegalArgumentException.class, () -> wide.plus(rows(1, 2)));
  }

  @Test
  void replacementsCanBeNeitherScaledNorAdded() throws IOException {
    Patch whole = Patch.of(Map.of("x", new Delta.Replacement(tuned.tensor("x").orElseThrow())), Optional.empty(), "whole");
    Patch row =
        Patch.of(
            Map.of(
                "x",
                new Delta.RowReplacement(ImmutableLongArray.of(0), MemoryModel.tensor(DType.F32, Shape.of(1), 7), Shape.of(2))),
            Optional.empty(),
            "row");
    for (Patch replacement : List.of(whole, row)) {
      IllegalStateException e = assertThrows(IllegalStateException.class, () -> replacement.scaledBy(2));
      assertEquals(
          "tensor 'x' is replaced by the patch, which cannot be scaled; extract the patch against its base to get a difference",
          e.getMessage());
      assertThrows(IllegalStateException.class, replacement::negate);
      assertThrows(IllegalStateException.class, () -> replacement.plus(patch));
      assertThrows(IllegalStateException.class, () -> patch.plus(replacement));
      assertSame(replacement, replacement.scaledBy(1));
    }
    // On different tensors both have their way.
    assertPorted(whole.plus(patch.only("y")), 1.5, 2, 30, 39, 50);
  }

  @Test
  void demandsSurviveScalesAndSums() {
    byte[] same = {1};
    MemoryModel one = MemoryModel.named("one").raw("i", DType.U8, Shape.of(1), same).build();
    Patch demand = Patch.from(one, one);
    Delta delta = demand.deltas().get("i");
    assertTrue(delta instanceof Delta.Unchanged);
    assertEquals(delta, demand.scaledBy(-3).deltas().get("i"));
    Delta.Dense dense = new Delta.Dense(MemoryModel.tensor(DType.F32, Shape.of(1), 1));
    Patch other = Patch.of(Map.of("i", dense), Optional.empty(), "other");
    assertEquals(dense, demand.plus(other).deltas().get("i"));
    assertEquals(dense, other.plus(demand).deltas().get("i"));
  }

  @Test
  void partsAreChosenByName() throws IOException {
    assertPorted(patch.only("x"), 10.5, 20, 30, 40, 50);
    assertPorted(patch.only("?"), 10.5, 20, 30, 39, 50);
    assertPorted(patch.except("x"), 10, 20, 30, 39, 50);
    assertPorted(patch.only("x", "y").except("y"), 10.5, 20, 30, 40, 50);
    assertEquals("(tuned - base) only x y", patch.only("x", "y").recipe());
    assertEquals("(tuned - base) except y", patch.except("y").recipe());
    assertEquals(patch.base(), patch.only("x").base());
    assertTrue(patch.except("*").deltas().isEmpty());
  }

  @Test
  void patternsThatMatchNothingAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> patch.only("x", "w"));
    assertThrows(IllegalArgumentException.class, () -> patch.except("w*"));
    assertThrows(IllegalArgumentException.class, patch::only);
    assertThrows(IllegalArgumentException.class, patch::except);
  }

  @Test
  void derivingLeavesTheOriginalAsItWas() throws IOException {
    patch.scaledBy(5);
    patch.plus(patch);
    patch.except("x");
    assertPorted(patch, 10.5, 20, 30, 39, 50);
    assertThrows(UnsupportedOperationException.class, () -> patch.deltas().remove("x"));
  }

  @Test
  void fingerprintsAreKeptWithTheBase() throws IOException {
    Fingerprint print = Fingerprint.of(base);
    PatchBase known = patch.base().orElseThrow().with(print);
    assertEquals(Optional.of(print.digest()), known.fingerprint());
    assertEquals(print.tensors(), known.digests());
    assertEquals(base.tensors(), known.tensors());
    assertEquals(Optional.empty(), patch.base().orElseThrow().fingerprint());
    assertEquals(Optional.of(base), known.model());
  }

  private Patch dense(String tensor, double... values) {
    Tensor change = MemoryModel.tensor(DType.F32, Shape.of(values.length), values);
    return Patch.of(Map.of(tensor, new Delta.Dense(change)), Optional.empty(), "dense");
  }

  /** A change of 7 to the last of {@code count} rows of x. */
  private static Patch rows(int last, int count) {
    Tensor change = MemoryModel.tensor(DType.F32, Shape.of(1), 7);
    Delta delta = new Delta.Rows(ImmutableLongArray.of(last), change, Optional.empty(), Shape.of(count));
    return Patch.of(Map.of("x", delta), Optional.empty(), "rows");
  }

  private void assertPorted(Patch changes, double... expected) throws IOException {
    ModelVersion ported = changes.applyTo(newBase);
    double[] found = new double[5];
    System.arraycopy(MemoryModel.values(ported, "x"), 0, found, 0, 2);
    System.arraycopy(MemoryModel.values(ported, "y"), 0, found, 2, 2);
    found[4] = MemoryModel.values(ported, "z")[0];
    assertArrayEquals(expected, found);
  }
}
