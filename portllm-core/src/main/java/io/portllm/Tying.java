package io.portllm;

/** Whether a model's output head is its input embedding. */
public enum Tying {
  /** One matrix serves both, stored once or twice. */
  TIED,
  /** They are two matrices, or there is no head. */
  UNTIED,
  /** Not recorded. */
  UNKNOWN
}
