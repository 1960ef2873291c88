package io.portllm;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Objects;

/**
 * How patches are extracted and applied. Immutable.
 */
public final class MergeOptions {
  private static final MergeOptions DEFAULTS = new MergeOptions(ImmutableSet.of(), Merger.fastest(), BasePolicy.FREEZE);

  private final ImmutableSet<Allow> allowed;
  private final Merger merger;
  private final BasePolicy basePolicy;

  private MergeOptions(ImmutableSet<Allow> allowed, Merger merger, BasePolicy basePolicy) {
    this.allowed = allowed;
    this.merger = merger;
    this.basePolicy = basePolicy;
  }

  /** Nothing allowed that does not fit, the fastest merger, and {@link BasePolicy#FREEZE}. */
  public static MergeOptions defaults() {
    return DEFAULTS;
  }

  /** These options with {@code more} allowed too. */
  public MergeOptions allow(Allow... more) {
    return new MergeOptions(Sets.immutableEnumSet(Sets.union(allowed, ImmutableSet.copyOf(more))), merger, basePolicy);
  }

  /** These options with another implementation of the arithmetic. */
  public MergeOptions withMerger(Merger other) {
    return new MergeOptions(allowed, Objects.requireNonNull(other, "other"), basePolicy);
  }

  /** These options with another policy for changes that depend on the weights they are made to. */
  public MergeOptions withBasePolicy(BasePolicy other) {
    return new MergeOptions(allowed, merger, Objects.requireNonNull(other, "other"));
  }

  /** Whether {@code mismatch} is allowed. */
  public boolean allows(Allow mismatch) {
    return allowed.contains(mismatch);
  }

  /** The implementation of the arithmetic. */
  public Merger merger() {
    return merger;
  }

  /** How changes are ported that depend on the weights they are made to. */
  public BasePolicy basePolicy() {
    return basePolicy;
  }
}
