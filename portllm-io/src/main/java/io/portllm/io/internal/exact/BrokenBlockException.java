package io.portllm.io.internal.exact;

/** Thrown when bytes are no block. The message says why; whoever reads the file adds where. */
public final class BrokenBlockException extends Exception {
  private static final long serialVersionUID = 1L;

  BrokenBlockException(String message) {
    super(message);
  }
}
