package io.portllm.io.adapter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Each adapter of the torture set is refused, by its rule where the adapter alone shows it, or applied to its base. */
class AdapterTortureTest {
  private static final Path SHARED = Path.of("../../shared/torture");

  /** What only the base shows, among the bundled cases. */
  private static final Set<String> REFUSED_BY_THE_BASE = Set.of("in_features_differ", "fan_in_fan_out_wrong", "fan_in_fan_out_missing");

  private record Case(Path folder, boolean valid, String rule) {}

  private static Path bundled() throws URISyntaxException {
    return Path.of(AdapterTortureTest.class.getResource("/torture/adapter/manifest.json").toURI()).getParent().getParent();
  }

  private static List<Case> cases(Path root, Path manifest) throws IOException {
    List<Case> cases = new ArrayList<>();
    for (JsonNode node : new ObjectMapper().readTree(Files.readAllBytes(manifest))) {
      if (node.get("kind").textValue().equals("adapter")) {
        cases.add(new Case(root.resolve(node.get("file").textValue()), node.get("valid").booleanValue(), node.get("rule").textValue()));
      }
    }
    return cases;
  }

  private static Stream<DynamicTest> tests(Path root, Path manifest) throws IOException {
    return cases(root, manifest).stream()
        .map(c -> DynamicTest.dynamicTest(root.relativize(c.folder).toString(), () -> check(c, root.resolve("adapter/base"))));
  }

  @TestFactory
  Stream<DynamicTest> everyBundledCaseHasItsVerdict() throws Exception {
    return tests(bundled(), bundled().resolve("adapter/manifest.json"));
  }

  @TestFactory
  Stream<DynamicTest> everySharedCaseHasItsVerdict() throws IOException {
    assumeTrue(Files.isDirectory(SHARED), "no shared torture set");
    return tests(SHARED, SHARED.resolve("manifest.json"));
  }

  @Test
  void theBundledSetIsComplete() throws Exception {
    List<Case> cases = cases(bundled(), bundled().resolve("adapter/manifest.json"));

    assertEquals(4, cases.stream().filter(c -> c.valid).count());
    assertEquals(18, cases.stream().filter(c -> !c.valid).count());
  }

  private static void check(Case c, Path basePath) throws IOException {
    try (ModelVersion base = Checkpoints.open(basePath)) {
      if (c.valid) {
        try (PeftAdapter adapter = PeftAdapter.open(c.folder)) {
          Patch patch = Patch.from(adapter, base);
          assertFalse(Fingerprint.of(patch.applyTo(base)).equals(Fingerprint.of(base)));
        }
        return;
      }
      try (PeftAdapter adapter = PeftAdapter.open(c.folder)) {
        assertThrows(IncompatibleModelException.class, () -> Patch.from(adapter, base), c.rule);
        assertThrows(IncompatibleModelException.class, () -> adapter.patch().applyTo(base), c.rule);
        String name = c.folder.getFileName().toString();
        assertTrue(REFUSED_BY_THE_BASE.contains(name), () -> name + " should have been refused when it was opened");
      } catch (MalformedModelException e) {
        assertEquals(c.rule, e.rule(), e::getMessage);
        assertTrue(e.getMessage().startsWith("[" + c.folder), e::getMessage);
      } catch (RuntimeException e) {
        fail("an exception of no family", e);
      }
    }
  }
}
