package io.portllm.cli.demo;

import io.portllm.ModelVersion;
import java.io.IOException;
import java.util.Arrays;

/**
 * A small Llama model that can be run: float32, one token at a time, greedy.
 *
 * <p>Holds a copy of its weights in memory, 4 bytes for each; the model version that it was read from may be closed. Immutable and
 * safe for use by many threads.
 */
public final class LlamaModel {
  private final LlamaConfig config;
  private final LlamaWeights weights;

  private LlamaModel(LlamaConfig config, LlamaWeights weights) {
    this.config = config;
    this.weights = weights;
  }

  /**
   * Reads a model.
   *
   * @throws IllegalArgumentException if it is no plain Llama, saying what was expected and found
   * @throws IOException if reading failed
   */
  public static LlamaModel read(ModelVersion model) throws IOException {
    LlamaConfig config = LlamaConfig.of(model);
    return new LlamaModel(config, LlamaWeights.read(model, config));
  }

  /**
   * The logits of the token that follows {@code tokens}.
   *
   * @param tokens at least one id
   * @return a logit for each id of the vocabulary
   */
  public float[] logits(int... tokens) {
    return new LlamaDecoder(config, weights, tokens.length).feed(tokens);
  }

  /**
   * Continues a text with the likeliest token each time.
   *
   * @param prompt at least one id
   * @param longest the most ids to add, at least 1
   * @return the ids added, without an end token
   */
  public int[] complete(int[] prompt, int longest) {
    LlamaDecoder decoder = new LlamaDecoder(config, weights, prompt.length + longest - 1);
    int[] added = new int[longest];
    float[] logits = decoder.feed(prompt);
    for (int count = 0; ; count++) {
      int next = likeliest(logits);
      if (config.endTokens().contains(next)) {
        return Arrays.copyOf(added, count);
      }
      added[count] = next;
      if (count + 1 == longest) {
        return added;
      }
      logits = decoder.feed(next);
    }
  }

  /** The index of the largest value, the first of equal ones. */
  private static int likeliest(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }
}
