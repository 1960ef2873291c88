package io.portllm.io.fuzz;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;

/** Jazzer's entry to each target: run one at a time, with {@code JAZZER_FUZZ=1}. */
class FuzzTests {
  private static final Targets TARGETS = Targets.inNewFolder();

  @FuzzTest(maxDuration = "24h")
  void safetensors(byte[] input) throws IOException {
    TARGETS.safetensors(input);
  }

  @FuzzTest(maxDuration = "24h")
  void index(byte[] input) throws IOException {
    TARGETS.index(input);
  }

  @FuzzTest(maxDuration = "24h")
  void gguf(byte[] input) throws IOException {
    TARGETS.gguf(input);
  }

  @FuzzTest(maxDuration = "24h")
  void adapter(byte[] input) throws IOException {
    TARGETS.adapter(input);
  }

  @FuzzTest(maxDuration = "24h")
  void patch(byte[] input) throws IOException {
    TARGETS.patch(input);
  }

  @FuzzTest(maxDuration = "24h")
  void vocabulary(byte[] input) throws IOException {
    TARGETS.vocabulary(input);
  }
}
