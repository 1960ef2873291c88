package io.portllm.io.internal.gguf;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Each GGUF file of the shared torture set is refused by its rule, or read. */
class TortureTest {
  private static final Path SHARED = Path.of("../../shared/torture");

  @TestFactory
  Stream<DynamicTest> everySharedCaseHasItsVerdict() throws IOException {
    if (!Files.isDirectory(SHARED)) {
      // A test of its own, because an aborted factory is not reported as skipped.
      return Stream.of(DynamicTest.dynamicTest("shared set", () -> abort("no shared torture set")));
    }
    JsonNode manifest = new ObjectMapper().readTree(Files.readAllBytes(SHARED.resolve("manifest.json")));
    return StreamSupport.stream(manifest.spliterator(), false)
        .filter(c -> c.get("kind").textValue().startsWith("gguf"))
        .map(c -> DynamicTest.dynamicTest(c.get("file").textValue(), () -> check(c)));
  }

  private static void check(JsonNode c) throws IOException {
    Path path = SHARED.resolve(c.get("file").textValue());
    if (c.get("valid").booleanValue()) {
      try (ModelVersion model = Checkpoints.open(path)) {
        readAll(model);
        model.verifyUnchanged();
        assertEquals(64, Fingerprint.of(model).digest().length());
      }
    } else {
      MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> Checkpoints.open(path).close());
      assertAll(
          () -> assertEquals(c.get("rule").textValue(), refusal.rule(), refusal::getMessage),
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
