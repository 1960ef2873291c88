package io.portllm.io.internal.record;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The list of digests that OpenSSF model signing signs, against one that {@code tools/openssf_statement.py} makes by the specification. The
 * same script compares outputs with the package's own code.
 */
class StatementTest {
  @TempDir Path dir;

  @Test
  void theStatementIsTheOneOfTheSpecification() throws IOException {
    JsonNode golden;
    try (InputStream in = StatementTest.class.getResourceAsStream("/record/statement.json")) {
      golden = new ObjectMapper().readTree(in);
    }
    Path output = Files.createDirectory(dir.resolve("odd"));
    for (JsonNode resource : golden.path("predicate").path("resources")) {
      Path file = output.resolve(resource.path("name").asText());
      Files.createDirectories(file.getParent());
      // Each file's content is its name.
      Files.writeString(file, resource.path("name").asText());
    }
    Digests digests = new Digests().files(output, "odd");
    digests.run(WriteOptions.defaults());
    OutputRecord record = OutputRecord.of(new ObjectMapper().createObjectNode(), List.of(), Map.of(), digests.ofFiles());
    byte[] encoded = record.encode("odd");
    assertEquals(golden, new ObjectMapper().readTree(encoded).path("statement"));
    Path file = Files.write(output.resolve(OutputRecord.NAME), encoded);
    assertEquals(List.copyOf(record.files().keySet()), List.copyOf(OutputRecord.read(file).files().keySet()));
  }
}
