package io.portllm.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.cuda.DeviceStream;
import io.portllm.internal.cuda.LoadedModel;
import io.portllm.testing.FakeDevice;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Models on a device that is none, which counts its memory. */
class ResidentModelTest extends ResidentModelContract {
  private static final Shape SHAPE = Shape.of(64, 512);
  private final FakeDevice device = new FakeDevice(256 << 20);

  @Override
  ResidentModel load(ModelVersion model, Originals originals) throws IOException {
    return LoadedModel.load(device, model, originals);
  }

  @Override
  ResidentModel over(ModelVersion model, Map<String, Long> addresses, Originals originals) {
    return LoadedModel.over(device, model, addresses, originals);
  }

  @AfterEach
  void allMemoryIsGivenBack() {
    assertEquals(0, device.used());
    assertEquals(0, device.hostBuffers());
  }

  @Test
  void originalsAreKeptOnlyOfWhatIsMergedAndOnlyIfAskedFor() throws IOException {
    MemoryModel base = model(1);
    Patch merged = Patch.from(model(2), model(3)).only("a");
    Patch exact = Patch.exact(model(4), base);
    try (ResidentModel loaded = load(base, Originals.KEPT)) {
      long bytes = loaded.deviceBytes();
      try (ResidentPatch flipped = loaded.prepare(exact, MergeOptions.defaults())) {
        loaded.apply(flipped);
        assertEquals(bytes, loaded.deviceBytes());
      }
      loaded.apply(merged, MergeOptions.defaults());
      assertEquals(bytes + 2 * SHAPE.elements(), loaded.deviceBytes());
    }
    try (ResidentModel loaded = load(base, Originals.READ_AGAIN)) {
      long bytes = loaded.deviceBytes();
      loaded.apply(merged, MergeOptions.defaults());
      assertEquals(bytes, loaded.deviceBytes());
    }
  }

  @Test
  void aModelThatDoesNotFitTheMemoryIsRefused() {
    FakeDevice small = new FakeDevice(100_000);
    IllegalStateException refused =
        assertThrows(IllegalStateException.class, () -> LoadedModel.load(small, model(1), Originals.KEPT));
    assertTrue(refused.getMessage().contains("131072 bytes"), refused.getMessage());
    assertEquals(0, small.used());
  }

  @Test
  void aPatchThatDoesNotFitTheMemoryLeavesTheModelAsItWas() throws IOException {
    FakeDevice small = new FakeDevice(4 << 20);
    MemoryModel base = model(1);
    Patch patch = Patch.from(model(2), model(3));
    try (ResidentModel loaded = LoadedModel.load(small, base, Originals.KEPT)) {
      long used = small.used();
      long filler = small.allocate(small.freeBytes() - 1000);
      assertThrows(IllegalStateException.class, () -> loaded.prepare(patch, MergeOptions.defaults()));
      assertThrows(IllegalStateException.class, () -> loaded.apply(patch, MergeOptions.defaults()));
      small.free(filler);
      for (String tensor : new String[] {"a", "b"}) {
        assertEquals(
            ByteBuffer.wrap(MemoryModel.bytes(base, tensor)),
            ByteBuffer.wrap(MemoryModel.bytes(loaded.current(), tensor)));
      }
      loaded.apply(patch, MergeOptions.defaults());
      assertTrue(small.used() >= used);
    }
    assertEquals(0, small.used());
  }

  @Test
  void aModelThatLiesInDeviceMemoryAlreadyIsChangedInPlaceAndStaysThere() throws IOException {
    MemoryModel base = model(1);
    Patch merged = Patch.from(model(2), model(3));
    Patch exact = Patch.exact(model(4), base);
    for (Originals originals : Originals.values()) {
      Map<String, Long> addresses = new HashMap<>();
      for (TensorInfo tensor : base.tensors()) {
        addresses.put(tensor.name(), device.allocate(tensor.bytes()));
        write(addresses.get(tensor.name()), MemoryModel.bytes(base, tensor.name()));
      }
      long used = device.used();
      try (ResidentModel model = LoadedModel.over(device, base, addresses, originals)) {
        assertEquals(0, model.deviceBytes());
        assertEquals(addresses.get("b"), model.address("b").getAsLong());
        for (Patch patch : List.of(merged, exact, merged.scaledBy(-0.5))) {
          model.apply(patch, MergeOptions.defaults());
          assertInMemory(patch.applyTo(base), addresses);
        }
        model.undo();
        assertInMemory(base, addresses);
        model.apply(merged, MergeOptions.defaults());
      }
      assertInMemory(merged.applyTo(base), addresses);
      assertEquals(used, device.used());
      addresses.values().forEach(device::free);
    }
  }

  @Test
  void addressesThatKernelsCannotUseAreRefused() {
    MemoryModel base = model(1);
    IllegalArgumentException missing = assertThrows(
        IllegalArgumentException.class, () -> LoadedModel.over(device, base, Map.of("a", 1L << 20), Originals.KEPT));
    assertTrue(missing.getMessage().contains("'b'") && missing.getMessage().contains("not given"), missing.getMessage());
    IllegalArgumentException odd = assertThrows(
        IllegalArgumentException.class, () -> LoadedModel.over(device, base, Map.of("a", 1L << 20, "b", 0x2008L), Originals.KEPT));
    assertTrue(odd.getMessage().contains("0x2008"), odd.getMessage());
    assertThrows(
        IllegalArgumentException.class, () -> LoadedModel.over(device, base, Map.of("a", 0L, "b", 1L << 20), Originals.KEPT));
  }

  private void write(long address, byte[] bytes) {
    ByteBuffer host = device.allocateHost(bytes.length);
    try (DeviceStream stream = device.newStream()) {
      stream.upload(host.put(bytes).flip(), address);
    }
    device.freeHost(host);
  }

  private void assertInMemory(ModelVersion expected, Map<String, Long> addresses) throws IOException {
    for (TensorInfo tensor : expected.tensors()) {
      ByteBuffer host = device.allocateHost((int) tensor.bytes());
      try (DeviceStream stream = device.newStream()) {
        stream.download(addresses.get(tensor.name()), host);
      }
      assertEquals(ByteBuffer.wrap(MemoryModel.bytes(expected, tensor.name())), host);
      device.freeHost(host);
    }
  }

  private static MemoryModel model(long seed) {
    return MemoryModel.named("model " + seed)
        .random("a", DType.BF16, SHAPE, 0.1, seed)
        .random("b", DType.BF16, SHAPE, 0.1, seed + 10)
        .build();
  }
}
