package io.portllm.internal.kernel;

import io.portllm.Merger;

/** The merger in plain Java. Defines the bits that every other implementation must give. */
public final class ScalarMerger {
  /** The merger. */
  public static final Merger INSTANCE = new BlockMerger("scalar", ScalarKernel::new);

  private ScalarMerger() {}
}
