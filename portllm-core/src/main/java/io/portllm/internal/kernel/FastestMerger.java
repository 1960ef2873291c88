package io.portllm.internal.kernel;

import io.portllm.Merger;

/**
 * The fastest merger that this JVM can run. In the packaged jar, JDKs that have the Vector API find another class of this name under
 * {@code META-INF/versions}.
 */
public final class FastestMerger {
  /** What {@link #INSTANCE} comes to use after some billion weights. */
  public static final Merger STEADY = StagedMerger.INSTANCE;

  /** The merger. */
  public static final Merger INSTANCE = STEADY;

  private FastestMerger() {}

  /** {@link #INSTANCE}, for one who knows how many weights are to be merged in all. */
  public static Merger expecting(long weights) {
    return INSTANCE;
  }
}
