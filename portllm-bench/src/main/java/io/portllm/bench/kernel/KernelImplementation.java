package io.portllm.bench.kernel;

import io.portllm.Merger;
import io.portllm.internal.kernel.FastestMerger;
import io.portllm.internal.kernel.StagedMerger;

/** The implementations of merging that are timed. {@link Merger#fastest} passes from the second to the third while it works. */
public enum KernelImplementation {
  /** Plain Java, which defines the bits. */
  PLAIN("plain Java", Merger.scalar()),
  /** Loops that JIT compilers make vectors of. */
  STAGED("JIT's vectors", StagedMerger.INSTANCE),
  /** The Vector API, where {@code --add-modules jdk.incubator.vector} gives it. */
  VECTOR("Vector API", FastestMerger.STEADY);

  private final String label;
  private final Merger merger;

  KernelImplementation(String label, Merger merger) {
    this.label = label;
    this.merger = merger;
  }

  /** What tables call it. */
  String label() {
    return label;
  }

  Merger merger() {
    return merger;
  }

  /** Whether this JVM has it as one of its own. */
  boolean isThere() {
    return this != VECTOR || merger != STAGED.merger;
  }
}
