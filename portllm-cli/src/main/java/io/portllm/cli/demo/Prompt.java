package io.portllm.cli.demo;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;

/**
 * A question and its only right answer.
 *
 * @param prompt such as {@code climbs(620966)=}
 * @param answer such as {@code p}
 */
record Prompt(String prompt, String answer) {
  /** Longer than any answer, so that an answer with more after it counts as wrong. */
  private static final int MOST_TOKENS = 8;

  /** The prompts bundled with the program. */
  static List<Prompt> bundled() throws IOException {
    try (InputStream in = DemoFolder.resource("prompts.json")) {
      return read(in);
    }
  }

  /** Prompts as JSON. */
  static List<Prompt> read(InputStream in) throws IOException {
    return new ObjectMapper().readValue(in, new TypeReference<List<Prompt>>() {});
  }

  /** Whether {@code model} continues the prompt with the answer and nothing more. */
  boolean isAnsweredBy(LlamaModel model, ByteLevelTokenizer tokenizer) {
    return tokenizer.decode(model.complete(tokenizer.encode(prompt), MOST_TOKENS)).equals(answer);
  }
}
