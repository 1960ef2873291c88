package io.portllm.portability;

import io.portllm.ModelVersion;
import java.io.IOException;

/**
 * How good a model is at something, item by item: the caller's prompts, run in whatever engine the caller has.
 */
@FunctionalInterface
public interface Scoring {
  /**
   * Scores a model.
   *
   * @param model open; may be computed as it is read, so an engine that wants a file has to write it first
   * @return a score from 0 (wrong) to 1 (right) for each item, the same items in the same order for every model
   * @throws IOException if reading or running the model failed
   */
  double[] score(ModelVersion model) throws IOException;
}
