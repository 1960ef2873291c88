package io.portllm.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
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
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What holds for models in device memory, on a GPU or not: the bits are those of {@link Patch#applyTo}, and come back. */
abstract class ResidentModelContract {
  private static final MergeOptions OPTIONS = MergeOptions.defaults();
  private static final DType[] TYPES = {DType.F64, DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2};
  private static final Shape SHAPE = Shape.of(37, 44);

  /** Loads a model. */
  abstract ResidentModel load(ModelVersion model, Originals originals) throws IOException;

  /** Works on a model in device memory of someone else's. */
  abstract ResidentModel over(ModelVersion model, Map<String, Long> addresses, Originals originals);

  @Test
  void patchesArePutOnMemoryOfOthersInPlace() throws IOException {
    MemoryModel base = model(1);
    Patch patch = Patch.from(model(50), model(60)).scaledBy(0.4);
    try (ResidentModel owner = load(base, Originals.READ_AGAIN)) {
      Map<String, Long> addresses = new HashMap<>();
      base.tensors().forEach(tensor -> addresses.put(tensor.name(), owner.address(tensor.name()).orElseThrow()));
      try (ResidentModel guest = over(base, addresses, Originals.KEPT)) {
        guest.apply(patch, OPTIONS);
        for (TensorInfo tensor : base.tensors()) {
          byte[] expected = MemoryModel.bytes(patch.applyTo(base), tensor.name());
          assertArrayEquals(expected, MemoryModel.bytes(owner.current(), tensor.name()), tensor.name());
        }
        guest.undo();
      }
      for (TensorInfo tensor : base.tensors()) {
        assertArrayEquals(MemoryModel.bytes(base, tensor.name()), MemoryModel.bytes(owner.current(), tensor.name()), tensor.name());
      }
    }
  }

  private static MemoryModel model(long seed) {
    MemoryModel.Builder model = MemoryModel.named("model " + seed);
    for (DType type : TYPES) {
      model.random("w." + type, type, SHAPE, 0.5, seed++);
    }
    model.random("model.embed_tokens.weight", DType.BF16, Shape.of(300, 24), 0.5, seed);
    model.random("long", DType.BF16, Shape.of(1100, 1024), 0.5, seed + 1);
    model.raw("ids", DType.I64, Shape.of(3), new byte[24]);
    model.raw("empty", DType.BF16, Shape.of(0, 4), new byte[0]);
    return model.build();
  }

  private static Delta.LowRank lowRank(Shape shape, int rank, DType type, long seed) {
    Tensor b = MemoryModel.random(type, Shape.of(shape.rows(), rank), 0.2, seed);
    Tensor a = MemoryModel.random(type, Shape.of(rank, shape.columns()), 0.2, seed + 1);
    return new Delta.LowRank(b, a, 0.5, false, shape);
  }

  private static Patch of(Map<String, Delta> deltas) {
    return Patch.of(deltas, Optional.empty(), "test");
  }

  /** Patches of every kind, by what they are. */
  private static Map<String, Patch> patches(ModelVersion base) throws IOException {
    Map<String, Patch> patches = new LinkedHashMap<>();
    patches.put("difference", Patch.from(model(50), model(60)));
    patches.put("scaled difference", Patch.from(model(50), model(60)).scaledBy(-0.3));
    Map<String, Delta> factors = new LinkedHashMap<>();
    Map<String, Delta> dense = new LinkedHashMap<>();
    Map<String, Delta> sums = new LinkedHashMap<>();
    Map<String, Delta> replaced = new LinkedHashMap<>();
    long seed = 1000;
    for (DType type : TYPES) {
      factors.put("w." + type, lowRank(SHAPE, 5, type == DType.F32 ? DType.F32 : DType.BF16, seed++));
      dense.put("w." + type, new Delta.Dense(MemoryModel.random(DType.F32, SHAPE, 0.1, seed++)));
      sums.put("w." + type, new Delta.Sum(List.of(
          new Delta.Term(2, lowRank(SHAPE, 3, DType.F16, seed++)),
          new Delta.Term(0.1, new Delta.Dense(MemoryModel.random(DType.F16, SHAPE, 0.1, seed++))))));
      replaced.put("w." + type, new Delta.Replacement(MemoryModel.random(type, SHAPE, 1, seed++)));
    }
    factors.put("long", lowRank(Shape.of(1100, 1024), 2, DType.BF16, 5));
    dense.put("long", new Delta.Dense(MemoryModel.random(DType.BF16, Shape.of(1100, 1024), 0.1, 6)));
    Tensor rows = MemoryModel.random(DType.F32, Shape.of(3, 24), 0.3, 7);
    Delta changed = new Delta.Rows(ImmutableLongArray.of(299, 5, 6), rows, Optional.empty(), Shape.of(300, 24));
    patches.put("factors", of(factors));
    patches.put("dense", of(dense));
    patches.put("sums", of(sums));
    patches.put("replacement", of(replaced));
    patches.put("rows", of(Map.of("model.embed_tokens.weight", changed)));
    patches.put("replaced rows", of(Map.of(
        "model.embed_tokens.weight", new Delta.RowReplacement(ImmutableLongArray.of(0, 17, 4), rows, Shape.of(300, 24)))));
    patches.put("exact", Patch.exact(model(99), base));
    return patches;
  }

  private static Map<String, byte[]> bytes(ModelVersion model) throws IOException {
    Map<String, byte[]> bytes = new LinkedHashMap<>();
    for (TensorInfo tensor : model.tensors()) {
      bytes.put(tensor.name(), MemoryModel.bytes(model, tensor.name()));
    }
    return bytes;
  }

  private static void assertSame(ModelVersion expected, ModelVersion found, String what) throws IOException {
    Map<String, byte[]> all = bytes(found);
    for (Map.Entry<String, byte[]> tensor : bytes(expected).entrySet()) {
      assertArrayEquals(tensor.getValue(), all.get(tensor.getKey()), what + ": " + tensor.getKey());
    }
  }

  @ParameterizedTest
  @EnumSource(Originals.class)
  void aLoadedModelHasTheBitsOfItsSource(Originals originals) throws IOException {
    MemoryModel base = model(1);
    try (ResidentModel loaded = load(base, originals)) {
      assertSame(base, loaded.current(), "loaded");
      assertEquals(base.shards(), loaded.current().shards());
      ByteBuffer some = ByteBuffer.allocate(6).order(ByteOrder.LITTLE_ENDIAN);
      loaded.current().read(base.find("long").orElseThrow(), 2000, some);
      assertArrayEquals(Arrays.copyOfRange(MemoryModel.bytes(base, "long"), 2000, 2006), some.array());
    }
  }

  @ParameterizedTest
  @EnumSource(Originals.class)
  void everyPatchGivesTheBitsAndCountsOfAPortAndIsTakenOff(Originals originals) throws IOException {
    MemoryModel base = model(1);
    try (ResidentModel loaded = load(base, originals)) {
      for (Map.Entry<String, Patch> patch : patches(base).entrySet()) {
        ModelVersion expected = patch.getValue().applyTo(base, OPTIONS);
        Rounding streamed = loaded.apply(patch.getValue(), OPTIONS);
        assertSame(expected, loaded.current(), patch.getKey() + ", streamed");
        assertEquals(Optional.of(patch.getValue()), loaded.active());
        loaded.undo();
        assertSame(base, loaded.current(), patch.getKey() + ", taken off");
        assertEquals(Optional.empty(), loaded.active());

        try (ResidentPatch prepared = loaded.prepare(patch.getValue(), OPTIONS)) {
          assertSame(base, loaded.current(), patch.getKey() + ", prepared");
          assertTrue(prepared.deviceBytes() > 0);
          assertEquals(streamed, loaded.apply(prepared));
          assertSame(expected, loaded.current(), patch.getKey() + ", prepared and applied");
          // Again: not on top of itself.
          assertEquals(streamed, loaded.apply(prepared));
          assertSame(expected, loaded.current(), patch.getKey() + ", applied again");
        }
        assertSame(expected, loaded.current(), patch.getKey() + ", closed while on the model");
        loaded.undo();
        assertSame(base, loaded.current(), patch.getKey() + ", closed and taken off");
        if (patch.getKey().equals("difference")) {
          assertTrue(streamed.touched() > 0 && streamed.vanished() > 0, streamed.toString());
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Originals.class)
  void onePatchReplacesAnotherWhateverBothAre(Originals originals) throws IOException {
    MemoryModel base = model(1);
    try (ResidentModel loaded = load(base, originals)) {
      Map<String, ResidentPatch> prepared = new LinkedHashMap<>();
      Map<String, Patch> patches = patches(base);
      for (Map.Entry<String, Patch> patch : patches.entrySet()) {
        prepared.put(patch.getKey(), loaded.prepare(patch.getValue(), OPTIONS));
      }
      for (String before : patches.keySet()) {
        for (String after : patches.keySet()) {
          loaded.apply(prepared.get(before));
          loaded.apply(prepared.get(after));
          assertSame(patches.get(after).applyTo(base, OPTIONS), loaded.current(), after + " in place of " + before);
        }
        loaded.apply(patches.get(before), OPTIONS);
        assertSame(patches.get(before).applyTo(base, OPTIONS), loaded.current(), before + ", streamed");
      }
      prepared.values().forEach(ResidentPatch::close);
      prepared.values().forEach(ResidentPatch::close);
      loaded.undo();
      assertSame(base, loaded.current(), "taken off");
    }
  }

  @ParameterizedTest
  @EnumSource(Originals.class)
  void weightsThatLeaveTheirRangeAreRefusedAndTheModelIsAsItWasLoaded(Originals originals) throws IOException {
    MemoryModel base = model(1);
    Patch patch = of(Map.of(
        "w.BF16", new Delta.Dense(MemoryModel.random(DType.F32, SHAPE, 0.1, 1)),
        "w.F16", new Delta.Dense(MemoryModel.random(DType.F32, SHAPE, 1e6, 2))));
    try (ResidentModel loaded = load(base, originals); ResidentPatch prepared = loaded.prepare(patch, OPTIONS)) {
      loaded.apply(Patch.from(model(50), model(60)), OPTIONS);
      IncompatibleModelException refused = assertThrows(IncompatibleModelException.class, () -> loaded.apply(prepared));
      assertTrue(refused.getMessage().contains("w.F16"), refused.getMessage());
      assertSame(base, loaded.current(), "after the prepared patch was refused");
      assertThrows(IncompatibleModelException.class, () -> loaded.apply(patch, OPTIONS));
      assertSame(base, loaded.current(), "after the streamed patch was refused");
      assertEquals(Optional.empty(), loaded.active());

      MergeOptions allowing = OPTIONS.allow(Allow.OVERFLOW);
      assertTrue(loaded.apply(patch, allowing).overflowed() > 0);
      assertSame(patch.applyTo(base, allowing), loaded.current(), "allowed");
    }
  }

  @Test
  void whatDoesNotFitIsRefused() throws IOException {
    MemoryModel base = model(1);
    try (ResidentModel loaded = load(base, Originals.KEPT); ResidentModel other = load(model(2), Originals.KEPT)) {
      Patch unknown = of(Map.of("unknown", new Delta.Dense(MemoryModel.random(DType.F32, SHAPE, 1, 1))));
      assertThrows(IncompatibleModelException.class, () -> loaded.prepare(unknown, OPTIONS));
      MemoryModel less = MemoryModel.named("less").random("w.BF16", DType.BF16, SHAPE, 1, 3).build();
      Patch removing = Patch.exact(less, base);
      assertThrows(IncompatibleModelException.class, () -> loaded.apply(removing, OPTIONS));
      try (ResidentPatch foreign = other.prepare(of(Map.of()), OPTIONS)) {
        assertThrows(IllegalArgumentException.class, () -> loaded.apply(foreign));
      }
      Tensor zeros = base.tensor("ids").orElseThrow();
      byte[] ones = new byte[24];
      Arrays.fill(ones, (byte) 1);
      Tensor others = MemoryModel.named("others").raw("ids", DType.I64, Shape.of(3), ones).build().tensor("ids").orElseThrow();
      Patch demanding = of(Map.of("ids", new Delta.Unchanged(others, zeros)));
      assertThrows(IncompatibleModelException.class, () -> loaded.prepare(demanding, OPTIONS));
      assertThrows(IncompatibleModelException.class, () -> loaded.apply(demanding, OPTIONS));
      assertEquals(Rounding.NONE, loaded.apply(of(Map.of("ids", new Delta.Unchanged(zeros, zeros))), OPTIONS));
      assertSame(base, loaded.current(), "after refusals");
    }
  }

  @Test
  void whatWasClosedOrReplacedIsNotUsed() throws IOException {
    MemoryModel base = model(1);
    ResidentModel loaded = load(base, Originals.KEPT);
    ModelVersion before = loaded.current();
    ResidentPatch patch = loaded.prepare(Patch.from(model(50), model(60)), OPTIONS);
    loaded.apply(patch);
    assertThrows(IllegalStateException.class, () -> bytes(before));
    patch.close();
    assertThrows(IllegalStateException.class, () -> loaded.apply(patch));
    loaded.close();
    loaded.close();
    assertThrows(IllegalStateException.class, loaded::current);
    assertThrows(IllegalStateException.class, loaded::undo);
    assertThrows(IllegalStateException.class, () -> loaded.address("long"));
  }

  @Test
  void addressesAreAlignedAndStayTheSame() throws IOException {
    try (ResidentModel loaded = load(model(1), Originals.KEPT)) {
      long address = loaded.address("long").orElseThrow();
      assertEquals(0, address % 256);
      assertNotEquals(address, loaded.address("w.BF16").orElseThrow());
      assertTrue(loaded.address("unknown").isEmpty());
      loaded.apply(Patch.from(model(50), model(60)), OPTIONS);
      assertEquals(address, loaded.address("long").orElseThrow());
    }
  }
}
