package io.portllm;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import io.portllm.internal.quant.BlockCodecs;
import java.util.Objects;
import java.util.Optional;

/**
 * How patches are extracted and applied. Immutable.
 */
public final class MergeOptions {
  private static final MergeOptions DEFAULTS =
      new MergeOptions(ImmutableSet.of(), Merger.fastest(), BasePolicy.FREEZE, Optional.empty());

  private final ImmutableSet<Allow> allowed;
  private final Merger merger;
  private final BasePolicy basePolicy;
  private final Optional<DType> raisedType;

  private MergeOptions(ImmutableSet<Allow> allowed, Merger merger, BasePolicy basePolicy, Optional<DType> raisedType) {
    this.allowed = allowed;
    this.merger = merger;
    this.basePolicy = basePolicy;
    this.raisedType = raisedType;
  }

  /** Nothing allowed that does not fit, the fastest merger, and {@link BasePolicy#FREEZE}. */
  public static MergeOptions defaults() {
    return DEFAULTS;
  }

  /** These options with {@code more} allowed too. */
  public MergeOptions allow(Allow... more) {
    return new MergeOptions(Sets.immutableEnumSet(Sets.union(allowed, ImmutableSet.copyOf(more))), merger, basePolicy, raisedType);
  }

  /** These options with another implementation of the arithmetic. */
  public MergeOptions withMerger(Merger other) {
    return new MergeOptions(allowed, Objects.requireNonNull(other, "other"), basePolicy, raisedType);
  }

  /** These options with another policy for changes that depend on the weights they are made to. */
  public MergeOptions withBasePolicy(BasePolicy other) {
    return new MergeOptions(allowed, merger, Objects.requireNonNull(other, "other"), raisedType);
  }

  /**
   * These options with a type for changed tensors of GGUF files whose own type cannot be written, because its quantiser needs an importance
   * matrix: they are written in {@code type}. Without it, changes to such tensors are refused. Formats without such types ignore it.
   *
   * @param type F32, F16, BF16, or a quantised type that can be written, such as Q4_K
   */
  public MergeOptions raisingTo(DType type) {
    if (!type.isQuantised() && type != DType.F32 && type != DType.F16 && type != DType.BF16) {
      throw new IllegalArgumentException("the type to raise to must be F32, F16, BF16 or quantised but was " + type);
    }
    if (type.isQuantised() && !BlockCodecs.of(type).quantises()) {
      throw new IllegalArgumentException("the type to raise to must be one that can be written without an importance matrix but was " + type);
    }
    return new MergeOptions(allowed, merger, basePolicy, Optional.of(type));
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

  /** The type of changed tensors whose own cannot be written, if they are not refused. */
  public Optional<DType> raisedType() {
    return raisedType;
  }
}
