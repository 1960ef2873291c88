package io.portllm.bench.real;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The task that the patch was trained for: to put a Debian package's one-line description next to the name of its section.
 *
 * @param labels the names of the sections
 * @param questions held-out descriptions
 */
record Sections(List<String> labels, List<Question> questions) {
  /** Texts are cut at this many tokens, {@code [CLS]} and {@code [SEP]} included. */
  private static final int TEXT_TOKENS = 24;

  /** The longest input of the model; labels are never cut. */
  private static final int MODEL_TOKENS = 512;

  Sections {
    labels = ImmutableList.copyOf(labels);
    questions = ImmutableList.copyOf(questions);
  }

  /**
   * One description.
   *
   * @param text the description
   * @param label the section it belongs to
   */
  record Question(String text, String label) {}

  static Sections read(Path json) throws IOException {
    JsonNode root = new ObjectMapper().readTree(json.toFile());
    List<String> labels = new ArrayList<>();
    root.path("labels").forEach(label -> labels.add(label.textValue()));
    List<Question> questions = new ArrayList<>();
    root.path("texts").forEach(text -> questions.add(new Question(text.get(0).textValue(), text.get(1).textValue())));
    return new Sections(labels, questions);
  }

  /** The embedding of one description. */
  static float[] embed(BertEncoder encoder, BertTokenizer tokenizer, String text) throws IOException {
    return encoder.embed(List.of(tokenizer.encode(text, TEXT_TOKENS))).get(0);
  }

  /** The share of descriptions, in percent, whose nearest label by cosine is theirs. */
  double right(BertEncoder encoder, BertTokenizer tokenizer) throws IOException {
    List<float[]> answers = encoder.embed(labels.stream().map(label -> tokenizer.encode(label, MODEL_TOKENS)).toList());
    List<float[]> texts = encoder.embed(questions.stream().map(question -> tokenizer.encode(question.text(), TEXT_TOKENS)).toList());
    int right = 0;
    for (int i = 0; i < texts.size(); i++) {
      if (labels.get(nearest(texts.get(i), answers)).equals(questions.get(i).label())) {
        right++;
      }
    }
    return 100.0 * right / questions.size();
  }

  /** The index of the candidate with the greatest dot product, which is the cosine for vectors of length 1. */
  private static int nearest(float[] vector, List<float[]> candidates) {
    int nearest = -1;
    double greatest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < candidates.size(); i++) {
      double dot = 0;
      for (int j = 0; j < vector.length; j++) {
        dot += (double) vector[j] * candidates.get(i)[j];
      }
      if (dot > greatest) {
        greatest = dot;
        nearest = i;
      }
    }
    return nearest;
  }
}
