package io.portllm.internal.portability;

import io.portllm.portability.Scoring;
import java.io.IOException;

/** What the fine-tuned model scores. */
@FunctionalInterface
public interface TrialReference {
  /** A score for each item, by {@code scoring} if they are not known. */
  double[] scores(Scoring scoring) throws IOException;
}
