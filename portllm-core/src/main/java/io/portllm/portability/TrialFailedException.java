package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import java.util.List;

/** Thrown where a port misses limits that were set for it; fails a build when thrown from a test. */
public final class TrialFailedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient ImmutableList<String> failures;

  /** An exception for these missed limits, at least one. */
  public TrialFailedException(String port, List<String> failures) {
    super(port + " misses its limits: " + String.join("; ", failures));
    this.failures = ImmutableList.copyOf(failures);
  }

  /** Every limit that was missed, in sentences. */
  public List<String> failures() {
    return failures == null ? List.of() : failures;
  }
}
