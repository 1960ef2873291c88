package io.portllm;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Objects;

/**
 * How patches are extracted and applied. Immutable.
 */
public final class MergeOptions {
  private static final MergeOptions DEFAULTS = new MergeOptions(ImmutableSet.of(), Merger.scalar());

  private final ImmutableSet<Allow> allowed;
  private final Merger merger;

  private MergeOptions(ImmutableSet<Allow> allowed, Merger merger) {
    this.allowed = allowed;
    this.merger = merger;
  }

  /** Nothing allowed that does not fit, and the scalar merger. */
  public static MergeOptions defaults() {
    return DEFAULTS;
  }

  /** These options with {@code more} allowed too. */
  public MergeOptions allow(Allow... more) {
    return new MergeOptions(Sets.immutableEnumSet(Sets.union(allowed, ImmutableSet.copyOf(more))), merger);
  }

  /** These options with another implementation of the arithmetic. */
  public MergeOptions withMerger(Merger other) {
    return new MergeOptions(allowed, Objects.requireNonNull(other, "other"));
  }

  /** Whether {@code mismatch} is allowed. */
  public boolean allows(Allow mismatch) {
    return allowed.contains(mismatch);
  }

  /** The implementation of the arithmetic. */
  public Merger merger() {
    return merger;
  }
}
