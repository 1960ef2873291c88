package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.FineTuned;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PortabilityReports;
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TensorReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Figures of reports on the lab's trained models are those that torch finds in float64: {@code tools/golden_portability.py}. */
class PortabilityGoldenTest {
  private static final double EXACT = 1e-10;

  /** What a product with a change of few directions may be off, all tensors together. */
  private static final double SKETCHED = 0.35;

  @TempDir
  private Path scratch;

  @ParameterizedTest
  @CsvSource({"climbs-lora, v2", "climbs-full, v3", "climbs-lora, independent"})
  void figuresAreTorchs(String patch, String onto) throws IOException {
    JsonNode golden = golden(patch, onto);
    try (ModelVersion base = open("v1"); ModelVersion newBase = open(onto)) {
      PortabilityReport report = PortabilityCheck.defaults().withThreads(2).check(patch(patch, base), newBase);

      assertEquals(golden.get("tensors").size(), report.tensors().size());
      for (TensorReport tensor : report.tensors()) {
        JsonNode expected = golden.get("tensors").get(tensor.name());
        assertFigures(expected, tensor, EXACT);
        assertEquals(expected.has("changeNorm"), tensor.meeting().isPresent(), tensor.name());
      }
      assertFigures(golden.get("patched"), report.patched(), EXACT);
      assertFigures(golden.get("total"), report.total(), EXACT);
      assertProducts(golden.get("patched"), report.patched(), SKETCHED);
    }
  }

  @ParameterizedTest
  @CsvSource({"climbs-lora, v2", "climbs-full, v3"})
  void sketchesInThePatchFileEstimateThem(String patch, String onto) throws IOException {
    Path file = scratch.resolve("p.safetensors");
    try (ModelVersion base = open("v1")) {
      PatchFile.write(patch(patch, base), file);
    }
    try (PatchFile opened = PatchFile.open(file); ModelVersion newBase = open(onto)) {
      PortabilityReport report = opened.patch().checkAgainst(newBase);

      assertEquals(PortabilityReport.Evidence.SKETCHES, report.evidence());
      TensorReport.Update update = report.patched().update().orElseThrow();
      assertTrue(update.estimated());
      assertEquals(golden(patch, onto).get("patched").get("drift").asDouble(), update.drift(), 0.1 * update.drift());
      assertEquals(golden(patch, onto).get("patched").get("cosine").asDouble(), update.cosine(), 2e-3);
      TensorReport.Meeting meeting = report.patched().meeting().orElseThrow();
      assertEquals(golden(patch, onto).get("patched").get("changeCosine").asDouble(), meeting.cosine(), 0.03);
      assertNotEquals(0, meeting.cosine());
      assertProducts(golden(patch, onto).get("patched"), report.patched(), SKETCHED);
    }
  }

  @Test
  void verdictAndScoreOfAPatchFileAreThoseWithTheOldBase() throws IOException {
    Path file = scratch.resolve("p.safetensors");
    try (ModelVersion base = open("v1"); ModelVersion v2 = open("v2"); ModelVersion independent = open("independent")) {
      Patch patch = patch("climbs-lora", base);
      PatchFile.write(patch, file);
      try (PatchFile opened = PatchFile.open(file)) {
        for (ModelVersion newBase : new ModelVersion[] {base, v2, independent}) {
          PortabilityReport with = patch.checkAgainst(newBase);
          PortabilityReport without = opened.patch().checkAgainst(newBase);

          assertEquals(with.verdict(), without.verdict());
          assertEquals(with.confidence(), without.confidence());
          assertEquals(with.lineage().kind(), without.lineage().kind());
          assertEquals(with.score().orElseThrow(), without.score().orElseThrow(), 0.01);
        }
        assertEquals(Verdict.DO_NOT_PORT, opened.patch().checkAgainst(independent).verdict());
        assertEquals(Verdict.PORT, opened.patch().checkAgainst(v2).verdict());
      }
    }
  }

  @Test
  void jsonHasTheFiguresOfTheReport() throws IOException {
    try (ModelVersion base = open("v1"); ModelVersion newBase = open("v2")) {
      PortabilityReport report = patch("climbs-lora", base).checkAgainst(newBase);

      JsonNode json = new ObjectMapper().readTree(PortabilityReports.json(report));

      assertEquals("PORT", json.get("verdict").asText());
      assertEquals(report.score().orElseThrow(), json.get("score").asDouble());
      assertEquals(report.tensors().size(), json.get("tensors").size());
      JsonNode patched = json.get("patched");
      assertEquals(report.patched().update().orElseThrow().drift(), patched.get("update").get("drift").asDouble());
      long vanished = report.patched().change().orElseThrow().rounding().vanished();
      assertEquals(vanished, patched.get("change").get("rounding").get("vanished").asLong());
      JsonNode tensor = json.get("tensors").get(2);
      assertEquals(report.tensors().get(2).name(), tensor.get("name").asText());
      assertEquals(report.tensors().get(2).layer().orElseThrow(), tensor.get("layer").asInt());
    }
  }

  private static void assertFigures(JsonNode golden, TensorReport found, double error) {
    TensorReport.Update update = found.update().orElseThrow();
    assertClose(golden, "oldNorm", update.oldNorm(), error, found);
    assertClose(golden, "newNorm", update.newNorm(), error, found);
    assertClose(golden, "norm", update.norm(), error, found);
    assertClose(golden, "drift", update.drift(), error, found);
    assertEquals(golden.get("cosine").asDouble(), update.cosine(), error, found.name());
    if (golden.has("changeNorm")) {
      TensorReport.Meeting meeting = found.meeting().orElseThrow();
      assertClose(golden, "changeNorm", found.change().orElseThrow().norm(), error, found);
      assertClose(golden, "ratio", meeting.ratio(), error, found);
      assertEquals(golden.get("changeCosine").asDouble(), meeting.cosine(), error, found.name());
      assertClose(golden, "signConflicts", meeting.signConflicts().orElseThrow(), error, found);
      assertClose(golden, "weightedSignConflicts", meeting.weightedSignConflicts().orElseThrow(), error, found);
    }
  }

  private static void assertProducts(JsonNode golden, TensorReport found, double error) {
    TensorReport.Meeting meeting = found.meeting().orElseThrow();
    assertClose(golden, "inputDrift", meeting.inputDrift().orElseThrow(), error, found);
    assertClose(golden, "outputDrift", meeting.outputDrift().orElseThrow(), error, found);
  }

  private static void assertClose(JsonNode golden, String figure, double found, double error, TensorReport of) {
    double expected = golden.get(figure).asDouble();
    assertEquals(expected, found, error * Math.abs(expected), of.name() + " " + figure);
  }

  private static JsonNode golden(String patch, String onto) throws IOException {
    return new ObjectMapper().readTree(Goldens.path("portability.json").toFile()).get(patch + " on " + onto);
  }

  private static Patch patch(String name, ModelVersion base) throws IOException {
    FineTuned tuned = name.endsWith("-lora") ? PeftAdapter.open(lab().resolve(name)) : open(name);
    return Patch.from(tuned, base);
  }

  private static ModelVersion open(String name) throws IOException {
    return Checkpoints.open(lab().resolve(name));
  }

  /** The models bundled with the command, or the shared lab. */
  private static Path lab() {
    Path found = Stream.of("../portllm-cli/src/main/resources/io/portllm/cli/demo/models", "../../shared/lab")
        .map(Path::of)
        .filter(folder -> Files.isRegularFile(folder.resolve("climbs-full/model.safetensors")))
        .findFirst()
        .orElse(null);
    assumeTrue(found != null, "the lab's models are not here");
    return found;
  }
}
