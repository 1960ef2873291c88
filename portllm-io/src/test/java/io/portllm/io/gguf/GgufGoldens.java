package io.portllm.io.gguf;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** Small models of eleven architectures that llama.cpp converted, outside of this repository. */
final class GgufGoldens {
  private GgufGoldens() {}

  static Stream<String> families() {
    return Stream.of(
        "falcon-mq", "gemma2", "gemma3-oov", "gpt2", "llama", "llama-bias", "llama3", "mixtral", "olmo2", "phi3", "qwen2");
  }

  /** The folder of a family; skips the test where there is none. */
  static Path folder(String family) {
    Path folder = Path.of("../../shared/golden/hf-gguf").resolve(family);
    Assumptions.assumeTrue(Files.exists(folder), "needs " + folder);
    return folder;
  }
}
