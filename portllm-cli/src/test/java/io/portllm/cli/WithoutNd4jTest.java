package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.extract.LowRankExtraction;
import io.portllm.extract.RankRule;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PeftExport;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.merge.MergeMethod;
import io.portllm.merge.Merging;
import io.portllm.portability.Verdict;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The library on this module's class path, which has no part of ND4J: neither a backend nor {@code nd4j-api}. */
class WithoutNd4jTest {
  private static Path model(String name) throws Exception {
    return Path.of(Main.class.getResource("demo/models/" + name).toURI());
  }

  @Test
  void nothingOfNd4jIsThere() {
    for (String type : List.of(
        "org/nd4j/linalg/factory/Nd4j", "org/bytedeco/javacpp/Pointer", "org/slf4j/Logger", "org/apache/commons/io/IOUtils")) {
      assertNull(Main.class.getClassLoader().getResource(type + ".class"), type);
    }
  }

  @Test
  void filesArePortedMergedExtractedJudgedAndVerified(@TempDir Path folder) throws Exception {
    try (ModelVersion base = Checkpoints.open(model("v1"));
        ModelVersion tuned = Checkpoints.open(model("climbs-full"));
        PeftAdapter adapter = PeftAdapter.open(model("climbs-lora"));
        ModelVersion newBase = Checkpoints.open(model("v2"))) {
      Patch full = Patch.from(tuned, base);
      Patch lora = Patch.from(adapter, base);
      assertEquals(Verdict.PORT, lora.checkAgainst(newBase, base).verdict());

      Patch low = LowRankExtraction.by(RankRule.rank(8)).of(full).patch();
      Patch merged = Merging.merge(List.of(lora, low), List.of(0.5, 0.5), new MergeMethod.Ties(0.2));
      WriteReport report = Checkpoints.write(merged.applyTo(newBase), folder.resolve("ported"), WriteOptions.defaults().recording());
      assertTrue(report.total().touched() > 0);
      assertTrue(Verification.of(folder.resolve("ported")).holds());
      PeftExport.write(lora, folder.resolve("exported"));
      PatchFile.write(Patch.exact(tuned, base), folder.resolve("exact.patch.safetensors"));
    }
    try (PatchFile exact = PatchFile.open(folder.resolve("exact.patch.safetensors")); ModelVersion base = Checkpoints.open(model("v1"))) {
      assertFalse(exact.patch().applyTo(base).tensors().isEmpty());
    }
  }

  @Test
  void arraysAloneNeedIt() throws Exception {
    Class<?> arrays = Class.forName("io.portllm.nd4j.Nd4jModel");
    assertThrows(NoClassDefFoundError.class, arrays::getDeclaredMethods);
  }
}
