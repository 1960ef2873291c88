package io.portllm.portability;

import java.util.Objects;

/**
 * Something about structure or files that a porter should know.
 *
 * @param severity what it means for the port
 * @param what one sentence saying what was found
 */
public record Finding(Severity severity, String what) {
  /** What a finding means for a port. */
  public enum Severity {
    /** Good to know. */
    NOTE,
    /** Speaks against adding the patch as it is. */
    WARNING,
    /** The patch cannot be applied. */
    BLOCKING
  }

  public Finding {
    Objects.requireNonNull(severity, "severity");
    Objects.requireNonNull(what, "what");
  }
}
