package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.DType;
import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The merger that the packaged jar chooses on this JVM. */
class FastestMergerIT extends MergerContract {
  @Override
  Merger merger() {
    return FastestMerger.STEADY;
  }

  @Test
  void theVectorKernelsAreChosenWhereTheirModuleIs() {
    boolean module = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    boolean expected = module && Runtime.version().feature() >= 25 && !System.getProperty("os.arch").equals("aarch64");

    assertEquals(expected ? "vector" : "staged", Merger.fastest().toString());
    assertEquals(Merger.fastest(), MergeOptions.defaults().merger());
  }

  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void everyPatternOfSixteenBitsGivesTheScalarBits(DType type) {
    Random random = new Random(25);
    int count = 1 << 16;
    ByteBuffer tuned = patterns(count);
    for (DType target : new DType[] {DType.F32, DType.F16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2}) {
      for (double factor : new double[] {1, -0.3, 0x1p100}) {
        ByteBuffer base = bytes(type, count, random);
        ByteBuffer weights = bytes(target, count, random);
        ByteBuffer copy = ByteBuffer.allocateDirect(weights.capacity()).order(ByteOrder.LITTLE_ENDIAN).put(weights.duplicate()).clear();
        Difference change = new Difference(0, count, factor, DType.BF16, tuned, type, base);

        Rounding expected = Merger.scalar().merge(new Chunk(target, weights, count), List.of(change));
        Rounding found = merger().merge(new Chunk(target, copy.order(ByteOrder.LITTLE_ENDIAN), count), List.of(change));

        assertEquals(expected, found);
        assertEquals(-1, weights.mismatch(copy));
      }
    }
  }

  private static ByteBuffer patterns(int count) {
    ByteBuffer bytes = ByteBuffer.allocate(2 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      bytes.putShort(2 * i, (short) i);
    }
    return bytes;
  }

  private static ByteBuffer bytes(DType type, int count, Random random) {
    byte[] bytes = new byte[count * type.bytes()];
    random.nextBytes(bytes);
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
