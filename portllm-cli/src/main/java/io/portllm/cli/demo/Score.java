package io.portllm.cli.demo;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A scoring command for the demo's models, as {@code check --score} runs one: asks a model prompts and prints a line for each, whether it
 * answered rightly.
 *
 * <p>{@code java -cp portllm.jar io.portllm.cli.demo.Score MODEL PROMPTS}, where PROMPTS is a JSON list of objects with {@code prompt} and
 * {@code answer}, such as {@code demo --keep} puts beside its models.
 */
public final class Score {
  private Score() {}

  /** The command; see the class comment. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 2) {
      System.err.println("usage: Score MODEL PROMPTS");
      System.exit(2);
    }
    List<Prompt> prompts;
    try (InputStream in = Files.newInputStream(Path.of(arguments[1]))) {
      prompts = Prompt.read(in);
    }
    ObjectMapper json = new ObjectMapper();
    try (ModelVersion model = Checkpoints.open(Path.of(arguments[0]))) {
      LlamaModel llama = LlamaModel.read(model);
      ByteLevelTokenizer tokenizer = ByteLevelTokenizer.of(model);
      List<Boolean> right = prompts.parallelStream().map(prompt -> prompt.isAnsweredBy(llama, tokenizer)).toList();
      for (int i = 0; i < prompts.size(); i++) {
        System.out.println(json.createObjectNode().put("id", prompts.get(i).prompt()).put("score", right.get(i) ? 1 : 0));
      }
    }
  }
}
