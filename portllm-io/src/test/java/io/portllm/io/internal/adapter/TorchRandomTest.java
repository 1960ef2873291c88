package io.portllm.io.internal.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** The numbers of torch 2.13.0's generator, as {@code tools/golden_adapter_kinds.py} wrote them down. */
class TorchRandomTest {
  @Test
  void uniformNumbersHaveTorchsBits() throws IOException {
    assertUniform("uniform", TorchRandom::uniform);
  }

  @Test
  void uniformNumbersInBfloat16HaveTorchsBits() throws IOException {
    assertUniform("bfloat16", TorchRandom::bfloat16Uniform);
  }

  private interface Draw {
    float[] draw(TorchRandom random, int count, double from, double to);
  }

  private static void assertUniform(String kind, Draw draw) throws IOException {
    int compared = 0;
    for (JsonNode golden : goldens(kind)) {
      TorchRandom random = new TorchRandom(golden.get("seed").longValue());
      for (int i = 0; i < golden.get("ranges").size(); i++) {
        JsonNode range = golden.get("ranges").get(i);
        float[] values = draw.draw(random, range.get(0).intValue(), range.get(1).doubleValue(), range.get(2).doubleValue());
        int[] expected = new ObjectMapper().convertValue(golden.get("bits").get(i), int[].class);
        int[] found = new int[values.length];
        Arrays.setAll(found, k -> Float.floatToRawIntBits(values[k]));
        assertArrayEquals(expected, found, "seed " + golden.get("seed") + ", range " + i);
        compared += found.length;
      }
    }
    assertTrue(compared > 300, "there are goldens");
  }

  @Test
  void permutationsAreTorchs() throws IOException {
    JsonNode goldens = goldens("permutations");
    assertTrue(goldens.size() > 0, "there are goldens");
    for (JsonNode golden : goldens) {
      long[] expected = new ObjectMapper().convertValue(golden.get("first"), long[].class);
      long n = golden.get("n").longValue();

      long[] found = new TorchRandom(golden.get("seed").longValue()).permutation(n, expected.length);

      assertArrayEquals(expected, found, "of " + n);
    }
  }

  @Test
  void startOfAPermutationDoesNotDependOnItsLength() {
    long[] all = new TorchRandom(9).permutation(500, 500);

    assertArrayEquals(Arrays.copyOf(all, 77), new TorchRandom(9).permutation(500, 77));
    assertArrayEquals(LongStream.range(0, 500).toArray(), LongStream.of(all).sorted().toArray());
  }

  @Test
  void nothingIsDrawnForNoElements() {
    assertEquals(0, new TorchRandom(9).permutation(10, 0).length);
    assertEquals(0, new TorchRandom(9).uniform(0, -1, 1).length);
  }

  private static JsonNode goldens(String kind) throws IOException {
    try (InputStream in = TorchRandomTest.class.getResourceAsStream("/golden/torch-random.json")) {
      return new ObjectMapper().readTree(in).get(kind);
    }
  }
}
