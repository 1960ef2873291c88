package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import io.portllm.internal.cuda.CudaMerger;
import io.portllm.testing.FakeDevice;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What surrounds the kernels: which is chosen, and what it is given. The kernels themselves need a GPU, and {@link CudaMergerIT}. */
class CudaMergerTest extends MergerContract {
  private final FakeDevice device = new FakeDevice(1 << 30);
  private final CudaMerger merger = new CudaMerger(device, Merger.scalar());

  @Override
  Merger merger() {
    return merger;
  }

  @Test
  void runsThatAreTooLongForOneCopyAreCut() {
    int count = (20 << 20) + 12345;
    ByteBuffer values = bytes(DType.F32, count, 1);
    ByteBuffer weights = bytes(DType.BF16, count, 2);
    ByteBuffer expected = ByteBuffer.allocate(weights.capacity()).order(ByteOrder.LITTLE_ENDIAN).put(0, weights, 0, weights.capacity());
    List<Merger.Operand> operands = new ArrayList<>();
    operands.add(new Merger.Values(0, count, 0.5, DType.F32, values));
    operands.add(new Merger.Values(7, 1 << 20, 0.25, DType.BF16, bytes(DType.BF16, 1 << 20, 3)));
    float[] left = new float[(count / 1000 + 2) * 2];
    float[] right = new float[2000];
    Arrays.fill(left, 0.25f);
    Arrays.fill(right, 0.5f);
    operands.add(new Merger.LowRank(0, count, 1, 999, 1000, 2, left, right));

    Rounding rounding = merger.merge(new Merger.Chunk(DType.BF16, weights, count), operands);

    assertEquals(Merger.scalar().merge(new Merger.Chunk(DType.BF16, expected, count), operands), rounding);
    assertEquals(-1, expected.mismatch(weights));
  }

  @Test
  void severalChangesOfTheSameElementsAreOnePass() {
    int count = 5000;
    Merger.Operand first = new Merger.Values(16, count, 0.5, DType.BF16, bytes(DType.BF16, count, 1));
    Merger.Operand second = new Merger.Values(16, count, -0.25, DType.BF16, bytes(DType.BF16, count, 2));
    Merger.Operand wide = new Merger.Values(16, count, 2, DType.F32, bytes(DType.F32, count, 3));
    Merger.Operand tuned =
        new Merger.Difference(16, count, 1.5, DType.BF16, bytes(DType.BF16, count, 4), DType.BF16, bytes(DType.BF16, count, 5));
    Merger.Operand other =
        new Merger.Difference(16, count, 0.3, DType.BF16, bytes(DType.BF16, count, 6), DType.BF16, bytes(DType.BF16, count, 7));
    float[] factors = new float[3000];
    Arrays.fill(factors, 0.125f);
    Merger.Operand product = new Merger.LowRank(16, count, 1, 40, 1000, 3, factors, factors);
    List<List<Merger.Operand>> stacks = List.of(
        List.of(first, second), List.of(first, second, first), List.of(first, second, first, second), List.of(tuned, other),
        List.of(other, tuned, other), List.of(first, tuned), List.of(wide, first), List.of(product, product), List.of(product, wide, tuned));
    for (List<Merger.Operand> stack : stacks) {
      ByteBuffer weights = bytes(DType.BF16, count + 100, 8);
      ByteBuffer expected = bytes(DType.BF16, count + 100, 8);
      int launches = device.launches();

      Rounding rounding = merger.merge(new Merger.Chunk(DType.BF16, weights, count + 100), stack);

      assertEquals(launches + 1, device.launches());
      assertEquals(Merger.scalar().merge(new Merger.Chunk(DType.BF16, expected, count + 100), stack), rounding);
      assertEquals(-1, expected.mismatch(weights), stack::toString);
    }
  }

  private static ByteBuffer bytes(DType type, int count, int seed) {
    ByteBuffer bytes = ByteBuffer.allocate(count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    Random random = new Random(seed);
    for (int i = 0; i < count; i++) {
      // Finite, positive.
      if (type == DType.F32) {
        bytes.putFloat(4 * i, random.nextFloat());
      } else {
        bytes.putShort(2 * i, (short) (Float.floatToRawIntBits(random.nextFloat()) >>> 16));
      }
    }
    return bytes;
  }
}
