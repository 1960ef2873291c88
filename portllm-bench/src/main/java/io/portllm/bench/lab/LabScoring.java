package io.portllm.bench.lab;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.common.collect.ImmutableList;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.cli.demo.ByteLevelTokenizer;
import io.portllm.cli.demo.LlamaModel;
import io.portllm.portability.Scoring;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Asks a model the prompts of one task: greedy decoding, exact match of the answer. Remembers the scores of models it has seen. */
final class LabScoring implements Scoring {
  /** Longer than any answer, so that an answer with more after it counts as wrong. */
  private static final int MOST_TOKENS = 8;

  private final List<Question> questions;
  private final Map<String, double[]> known = new ConcurrentHashMap<>();

  /** A prompt and its only right answer. */
  private record Question(String prompt, String answer) {}

  private LabScoring(List<Question> questions) {
    this.questions = ImmutableList.copyOf(questions);
  }

  /**
   * The first prompts of a task.
   *
   * @param eval the lab's {@code eval.json}
   * @param most how many at the most
   */
  static LabScoring of(JsonNode eval, String task, int most) {
    List<Question> questions = new ArrayList<>();
    for (JsonNode pair : eval.required(task)) {
      if (questions.size() < most) {
        questions.add(new Question(pair.get(0).textValue(), pair.get(1).textValue()));
      }
    }
    return new LabScoring(questions);
  }

  @Override
  public double[] score(ModelVersion model) throws IOException {
    String digest = Fingerprint.of(model).digest();
    double[] scores = known.get(digest);
    if (scores == null) {
      LlamaModel llama = LlamaModel.read(model);
      ByteLevelTokenizer tokenizer = ByteLevelTokenizer.of(model);
      scores = questions.parallelStream().mapToDouble(question -> isAnswered(question, llama, tokenizer) ? 1 : 0).toArray();
      known.put(digest, scores);
    }
    return scores;
  }

  private static boolean isAnswered(Question question, LlamaModel llama, ByteLevelTokenizer tokenizer) {
    return tokenizer.decode(llama.complete(tokenizer.encode(question.prompt()), MOST_TOKENS)).equals(question.answer());
  }
}
