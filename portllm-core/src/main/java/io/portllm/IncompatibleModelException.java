package io.portllm;

import com.google.common.collect.ImmutableList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Thrown when models, or a model and a patch, do not fit together. Lists every mismatch, not only the first.
 */
public final class IncompatibleModelException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient ImmutableList<Mismatch> mismatches;

  /**
   * An exception for these mismatches.
   *
   * @param what one clause saying which operation was refused, such as {@code patch of 'a' does not fit 'b'}
   * @param mismatches at least one
   */
  public IncompatibleModelException(String what, List<Mismatch> mismatches) {
    super(what + ": " + mismatches.stream().map(Mismatch::toString).collect(Collectors.joining("; ")));
    this.mismatches = ImmutableList.copyOf(mismatches);
  }

  /** Every mismatch found. */
  public List<Mismatch> mismatches() {
    return mismatches == null ? List.of() : mismatches;
  }
}
