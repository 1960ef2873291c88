package io.portllm.io.internal.safetensors;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each file of the torture set is refused by its rule, or read. */
class TortureTest {
  private static final Path SHARED = Path.of("../../shared/torture");

  @TempDir private static Path unpacked;

  /** One line of the manifest. */
  private record Case(Path path, boolean valid, String rule) {}

  @TestFactory
  Stream<DynamicTest> everyBundledCaseHasItsVerdict() throws IOException {
    return tests(Fixtures.resource("torture"));
  }

  @TestFactory
  Stream<DynamicTest> everySharedCaseHasItsVerdict() throws IOException {
    if (!Files.isDirectory(SHARED)) {
      // A test of its own, because an aborted factory is not reported as skipped.
      return Stream.of(DynamicTest.dynamicTest("shared set", () -> abort("no shared torture set")));
    }
    return tests(SHARED);
  }

  @Test
  void theBundledSetHasBothKindsAndBothVerdicts() throws IOException {
    List<Case> cases = cases(Fixtures.resource("torture"));

    assertEquals(66, cases.stream().filter(c -> Files.isRegularFile(c.path)).count());
    assertEquals(23, cases.stream().filter(c -> Files.isDirectory(c.path)).count());
    assertTrue(cases.stream().anyMatch(Case::valid) && !cases.stream().allMatch(Case::valid));
  }

  private static Stream<DynamicTest> tests(Path root) throws IOException {
    return cases(root).stream().map(c -> DynamicTest.dynamicTest(c.path.getParent().getFileName() + "/" + c.path.getFileName(), () -> check(c)));
  }

  private static List<Case> cases(Path root) throws IOException {
    List<Case> cases = new ArrayList<>();
    for (JsonNode node : new ObjectMapper().readTree(Files.readAllBytes(root.resolve("manifest.json")))) {
      String kind = node.get("kind").textValue();
      Path file = root.resolve(node.get("file").textValue());
      if (kind.equals("safetensors") || kind.equals("index")) {
        Path path = kind.equals("index") ? file.getParent() : present(file);
        cases.add(new Case(path, node.get("valid").booleanValue(), node.get("rule").textValue()));
      }
    }
    return cases;
  }

  /** The file itself: the larger ones of the bundled set, which repeat themselves, are stored compressed. */
  private static Path present(Path file) throws IOException {
    if (Files.exists(file)) {
      return file;
    }
    Path copy = unpacked.resolve(file.getFileName());
    try (InputStream packed = new GZIPInputStream(Files.newInputStream(file.resolveSibling(file.getFileName() + ".gz")))) {
      Files.copy(packed, copy, StandardCopyOption.REPLACE_EXISTING);
    }
    return copy;
  }

  private static void check(Case c) throws IOException {
    if (c.valid) {
      try (ModelVersion model = Checkpoints.open(c.path)) {

        readAll(model);
        model.verifyUnchanged();
      }
    } else {
      MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> Checkpoints.open(c.path).close());
      assertAll(
          () -> assertEquals(c.rule, refusal.rule(), refusal::getMessage),
          () -> assertTrue(refusal.getMessage().startsWith("["), refusal::getMessage),
          () -> assertTrue(refusal.getMessage().length() < 1000, refusal::getMessage),
          () -> assertTrue(refusal.getMessage().chars().noneMatch(Character::isISOControl), refusal::getMessage));
    }
  }

  private static void readAll(ModelVersion model) throws IOException {
    for (TensorInfo tensor : model.tensors()) {
      ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes()));
      model.read(tensor, 0, bytes);
      assertFalse(bytes.hasRemaining());
    }
  }
}
