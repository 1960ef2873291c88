package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.extract.Extract;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.extract.TensorExtract;
import io.portllm.extract.TensorExtract.Form;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Factors are as good as torch.linalg.svd in float64 says that any can be; {@code tools/golden_extract.py} made the files. */
class ExtractionGoldenTest {
  @TempDir private Path folder;

  private interface Check {
    void on(Patch patch, JsonNode spectra) throws IOException;
  }

  private static void withPatch(Check check) throws IOException {
    try (ModelVersion base = Checkpoints.open(Goldens.path("extract/base.safetensors"));
        ModelVersion tuned = Checkpoints.open(Goldens.path("extract/tuned.safetensors"))) {
      check.on(Patch.from(tuned, base), new ObjectMapper().readTree(Goldens.path("extract/spectra.json").toFile()));
    }
  }

  /** The sum of the squares of the singular values from number {@code from} on. */
  private static double energy(JsonNode spectrum, int from) {
    double sum = 0;
    for (int i = spectrum.size() - 1; i >= from; i--) {
      sum += spectrum.get(i).asDouble() * spectrum.get(i).asDouble();
    }
    return sum;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 8, 12, 20, 40})
  void theErrorIsWithinOnePercentOfTheBest(int rank) throws IOException {
    withPatch(
        (patch, spectra) -> {
          int compared = 0;
          for (TensorExtract tensor : LowRankExtraction.by(RankRule.rank(rank)).of(patch).tensors()) {
            JsonNode spectrum = spectra.get(tensor.tensor());
            double norm = Math.sqrt(energy(spectrum, 0));
            assertEquals(norm, tensor.norm(), 1e-12 * norm + 1e-300, tensor.tensor());
            double best = Math.sqrt(energy(spectrum, rank));
            // What float32 factors round off comes on top.
            assertTrue(tensor.error() <= 1.01 * best + 2e-7 * norm, tensor + " but best " + best);
            assertTrue(tensor.error() >= best * (1 - 1e-9), tensor + " is better than the best, " + best);
            compared++;
          }
          assertEquals(6, compared);
        });
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.3, 0.5, 0.8, 0.9, 0.95})
  void theRankIsTheLeastThatHoldsTheEnergy(double energy) throws IOException {
    withPatch(
        (patch, spectra) -> {
          int compared = 0;
          for (TensorExtract tensor : LowRankExtraction.by(RankRule.energy(energy)).of(patch).tensors()) {
            JsonNode spectrum = spectra.get(tensor.tensor());
            int least = 0;
            while (energy(spectrum, least) > (1 - energy) * energy(spectrum, 0)) {
              least++;
            }
            if (tensor.form() == Form.FACTORS) {
              assertEquals(least, tensor.rank(), tensor.tensor());
              compared++;
            } else if (tensor.form() == Form.WHOLE) {
              long numbers = least * (tensor.elements() / spectrum.size() + spectrum.size());
              assertTrue(numbers >= tensor.elements(), tensor + " has factors of " + numbers + " numbers");
            }
          }
          assertTrue(compared >= 3, "only " + compared + " tensors have factors");
        });
  }

  @Test
  void unchangedTensorsHaveRankZero() throws IOException {
    withPatch(
        (patch, spectra) -> {
          Extract extract = LowRankExtraction.by(RankRule.energy(0.9)).of(patch);
          TensorExtract same = extract.tensors().stream().filter(tensor -> tensor.tensor().equals("same.weight")).findFirst().orElseThrow();
          assertEquals(new TensorExtract("same.weight", Form.UNCHANGED, 0, 256, 0, 0, 0), same);
        });
  }

  @Test
  void aPatchFileOfFactorsAppliesAsTheExtractAndIsTheSameEachTime() throws IOException {
    withPatch(
        (patch, spectra) -> {
          for (String name : new String[] {"one", "other"}) {
            Extract extract = LowRankExtraction.by(RankRule.rank(5)).of(patch);
            PatchFile.write(extract.patch(), folder.resolve(name + ".patch.safetensors"));
          }
          Path file = folder.resolve("one.patch.safetensors");
          assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(folder.resolve("other.patch.safetensors")));
          try (PatchFile read = PatchFile.open(file);
              ModelVersion base = Checkpoints.open(Goldens.path("extract/base.safetensors"))) {
            ModelVersion expected = LowRankExtraction.by(RankRule.rank(5)).of(patch).patch().applyTo(base);
            Goldens.assertSameBits(expected, read.patch().applyTo(base));
          }
        });
  }
}
