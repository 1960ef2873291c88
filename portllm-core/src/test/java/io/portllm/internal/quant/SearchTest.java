package io.portllm.internal.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What the searches must keep apart from the reference's bytes, which {@link BlockCodecsTest} compares. */
class SearchTest {
  static List<BlockCodec> quantising() {
    return Arrays.stream(DType.values())
        .filter(type -> type.isQuantised() && type != DType.Q8_1)
        .map(BlockCodecs::of)
        .filter(BlockCodec::quantises)
        .toList();
  }

  /** Many groups are searched side by side, few one after the other. */
  @ParameterizedTest
  @MethodSource("quantising")
  void blocksDoNotDependOnWhatIsWrittenWithThem(BlockCodec codec) {
    int elements = codec.type().blockElements();
    float[] values = oddWeights(256 * 75);
    int count = values.length / elements;
    byte[] together = quantise(codec, values, 0, count);
    byte[] apart = new byte[together.length];
    for (int i = 0; i < count; i++) {
      byte[] one = quantise(codec, values, i * elements, 1);
      System.arraycopy(one, 0, apart, i * one.length, one.length);
    }
    assertArrayEquals(apart, together);
  }

  @ParameterizedTest
  @MethodSource("quantising")
  void weightsAtTheEndOfFloatsRangeAreWritten(BlockCodec codec) {
    float[] values = new float[256];
    Random random = new Random(5);
    for (int i = 0; i < values.length; i++) {
      values[i] = (random.nextBoolean() ? 1 : -1) * Float.MAX_VALUE * random.nextFloat();
    }
    values[7] = Float.MAX_VALUE;
    values[8] = -Float.MAX_VALUE;
    int blocks = 256 / codec.type().blockElements();
    byte[] first = quantise(codec, values, 0, blocks);
    assertArrayEquals(first, quantise(codec, values, 0, blocks));
  }

  @Test
  void cellsOfNonLinearLevelsEndWhereTheNearestLevelChanges() {
    for (int halves = -268; halves <= 268; halves++) {
      float at = halves * 0.5f;
      assertEquals(NonLinear.level(NonLinear.code(at)), NonLinearSearch.level(2 * at), () -> "at " + at);
      float below = Math.nextDown(at);
      assertEquals(NonLinear.level(NonLinear.code(below)), NonLinearSearch.level(2 * below), () -> "at " + below);
    }
    assertEquals(15, NonLinear.code(Float.NaN));
  }

  @ParameterizedTest
  @EnumSource(GridNeighbours.class)
  void listsHoldTheEntriesAtTheLeastDistances(GridNeighbours neighbours) {
    GridNeighbours.Table table = neighbours.table();
    Random random = new Random(3);
    int lists = 0;
    for (int trial = 0; trial < 300; trial++) {
      int code = randomCode(neighbours, random);
      int entry = table.entries()[code];
      if (entry >= 0) {
        assertEquals(code, neighbours.grid().code(entry));
        continue;
      }
      lists++;
      int start = -1 - entry;
      TreeSet<Integer> listed = new TreeSet<>();
      int last = 0;
      for (int i = start + 1; i <= start + table.lists()[start]; i++) {
        int distance = distance(neighbours, code, neighbours.grid().code(table.lists()[i]));
        assertTrue(distance > last || distance == last && table.lists()[i] > table.lists()[i - 1], "nearest first");
        listed.add(distance);
        last = distance;
      }
      int within = last;
      long expected = IntStream.range(0, neighbours.grid().size())
          .filter(e -> distance(neighbours, code, neighbours.grid().code(e)) <= within)
          .count();
      assertEquals(expected, table.lists()[start]);
      assertEquals(neighbours == GridNeighbours.IQ2_S ? 1 : neighbours == GridNeighbours.IQ3_XXS ? 2 : 3, listed.size());
    }
    assertTrue(lists > 100, "vectors without an entry");
  }

  private static int randomCode(GridNeighbours neighbours, Random random) {
    int bits = neighbours.grid().dimensions() == 8 ? 2 : 3;
    int code = 0;
    for (int i = 0; i < neighbours.grid().dimensions(); i++) {
      code |= random.nextInt(neighbours.levels()) << bits * i;
    }
    return code;
  }

  private static int distance(GridNeighbours neighbours, int a, int b) {
    int bits = neighbours.grid().dimensions() == 8 ? 2 : 3;
    int sum = 0;
    for (int i = 0; i < neighbours.grid().dimensions(); i++) {
      int difference = (a >> bits * i & (1 << bits) - 1) - (b >> bits * i & (1 << bits) - 1);
      sum += difference * difference;
    }
    return sum;
  }

  /** Runs of 32 weights of one kind each. */
  private static float[] oddWeights(int count) {
    Random random = new Random(11);
    float[] values = new float[count];
    for (int run = 0; run < count; run += 32) {
      int kind = random.nextInt(8);
      for (int i = run; i < run + 32; i++) {
        double normal = random.nextGaussian();
        values[i] = (float) switch (kind) {
          case 0 -> normal * 1e-30;
          case 1 -> normal * 1e-41;
          case 2 -> random.nextInt(16) == 0 ? normal : 0;
          case 3 -> normal * 1e6;
          case 4 -> Math.abs(normal);
          case 5 -> run;
          default -> normal * 0.02;
        };
      }
    }
    return values;
  }

  private static byte[] quantise(BlockCodec codec, float[] values, int from, int blocks) {
    byte[] bytes = new byte[blocks * codec.type().blockBytes()];
    codec.quantise(values, from, blocks * codec.type().blockElements(), ByteBuffer.wrap(bytes), 0);
    return bytes;
  }
}
