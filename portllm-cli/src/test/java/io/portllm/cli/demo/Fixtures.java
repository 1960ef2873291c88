package io.portllm.cli.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.file.Path;
import org.junit.jupiter.api.Assertions;

/** Test resources: files made by {@code make_reference.py}, and the models bundled with the program. */
final class Fixtures {
  private Fixtures() {}

  static JsonNode json(String file) throws IOException {
    try (InputStream in = Fixtures.class.getResourceAsStream(file)) {
      Assertions.assertNotNull(in, file);
      return new ObjectMapper().readTree(in);
    }
  }

  static int[] ids(JsonNode array) {
    return new ObjectMapper().convertValue(array, int[].class);
  }

  /** A small random model; the caller closes it. */
  static ModelVersion openTiny(String name) throws IOException {
    try {
      return Checkpoints.open(Path.of(Fixtures.class.getResource(name).toURI()));
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A bundled model, unpacked to {@code folder}; the caller closes it. */
  static ModelVersion openBundled(String name, Path folder) throws IOException {
    DemoFolder models = DemoFolder.kept(folder.resolve("models"));
    models.unpackModel(name);
    return Checkpoints.open(models.of(name));
  }
}
