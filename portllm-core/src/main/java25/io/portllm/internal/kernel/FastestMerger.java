package io.portllm.internal.kernel;

import io.portllm.Merger;

/**
 * The fastest merger that this JVM can run: with the Vector API if its module was added ({@code --add-modules jdk.incubator.vector}) and
 * the processor has vectors of 256 bits or more, else in plain Java.
 */
public final class FastestMerger {
  /** What {@link #INSTANCE} comes to use after some billion weights. */
  public static final Merger STEADY = choose();

  /** The merger. */
  public static final Merger INSTANCE = STEADY == StagedMerger.INSTANCE ? STEADY : new WarmingMerger(STEADY, WarmingMerger.FIRST);

  private FastestMerger() {}

  /** {@link #INSTANCE}, for one who knows how many weights are to be merged in all. */
  public static Merger expecting(long weights) {
    return INSTANCE instanceof WarmingMerger merger ? merger.expecting(weights, Runtime.getRuntime().availableProcessors()) : INSTANCE;
  }

  private static Merger choose() {
    // No class of the module may be named where it is absent, so that VectorKernel is first touched behind this test.
    boolean present = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    return present && VectorKernel.isWide() ? new VectorMerger() : StagedMerger.INSTANCE;
  }
}
