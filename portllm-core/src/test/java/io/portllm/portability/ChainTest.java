package io.portllm.portability;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.testing.MemoryModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ChainTest {
  private static final int SIZE = 64 * 64;

  private static double[] random(long seed, double size) {
    Random random = new Random(seed);
    return IntStream.range(0, SIZE).mapToDouble(i -> random.nextGaussian() * size).toArray();
  }

  /** Releases, each a step of this size from the one before. */
  private static List<ModelVersion> releases(double... steps) {
    double[] weights = random(1, 1);
    List<ModelVersion> releases = new ArrayList<>();
    for (int i = 0; i < steps.length; i++) {
      double[] step = random(10 + i, steps[i]);
      weights = weights.clone();
      for (int k = 0; k < SIZE; k++) {
        weights[k] += step[k];
      }
      releases.add(MemoryModel.named("v" + (i + 2)).tensor("m.weight", DType.F32, Shape.of(64, 64), weights).build());
    }
    return releases;
  }

  private static ChainReport check(double... steps) throws IOException {
    double[] weights = random(1, 1);
    double[] tuned = random(2, 0.4);
    for (int i = 0; i < SIZE; i++) {
      tuned[i] += weights[i];
    }
    MemoryModel base = MemoryModel.named("v1").tensor("m.weight", DType.F32, Shape.of(64, 64), weights).build();
    Patch patch = Patch.from(MemoryModel.named("tuned").tensor("m.weight", DType.F32, Shape.of(64, 64), tuned).build(), base);
    return PortabilityCheck.defaults().checkChain(patch, releases(steps));
  }

  @Test
  void evenSmallStepsHaveNoTurn() throws IOException {
    ChainReport chain = check(0.03, 0.03, 0.03, 0.03);

    assertEquals(4, chain.reports().size());
    assertTrue(chain.turn().isEmpty(), chain::toString);
    assertTrue(chain.releasesLeft().orElseThrow() > 3, chain::toString);
    double[] scores = chain.reports().stream().mapToDouble(report -> report.score().orElseThrow()).toArray();
    assertTrue(scores[0] > scores[1] && scores[1] > scores[2] && scores[2] > scores[3]);
  }

  @Test
  void aLeapIsTheTurn() throws IOException {
    ChainReport chain = check(0.03, 0.03, 0.5, 0.03);

    assertEquals(2, chain.turn().orElseThrow());
    assertTrue(chain.trend().contains("turns at 'v4'"), chain::trend);
    assertTrue(chain.toString().lines().count() == 6, chain::toString);
  }

  @Test
  void aLeapIsFoundWithinOneVerdictToo() throws IOException {
    ChainReport chain = check(0.01, 0.01, 0.15);

    assertEquals(Verdict.PORT, chain.reports().get(2).verdict());
    assertEquals(2, chain.turn().orElseThrow());
  }

  @Test
  void thereMustBeARelease() {
    assertThrows(IllegalArgumentException.class, ChainTest::check);
  }
}
