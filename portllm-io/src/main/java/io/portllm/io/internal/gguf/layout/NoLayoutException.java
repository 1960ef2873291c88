package io.portllm.io.internal.gguf.layout;

/** Tells that tensors do not have the shapes or names that their architecture says. */
final class NoLayoutException extends Exception {
  private static final long serialVersionUID = 1L;

  NoLayoutException(String reason) {
    super(reason);
  }
}
