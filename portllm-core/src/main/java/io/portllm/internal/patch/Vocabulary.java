package io.portllm.internal.patch;

import io.portllm.Shape;

/** Tells another vocabulary from another architecture. */
final class Vocabulary {
  private Vocabulary() {}

  /** Whether the tensor's rows are tokens and the shapes differ in their number alone. */
  static boolean differsInRowsOnly(String tensor, Shape one, Shape other) {
    return Embeddings.isVocabulary(tensor)
        && one.rank() == other.rank()
        && one.rank() >= 1
        && one.withRows(0).equals(other.withRows(0));
  }
}
