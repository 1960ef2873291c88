package io.portllm.internal.cuda;

import java.util.Optional;

/**
 * The GPU that is used. In the packaged jar, JDKs that can call native code find another class of this name under
 * {@code META-INF/versions}.
 */
public final class Devices {
  private Devices() {}

  /** Why there is none; empty if there is one. */
  public static Optional<String> problem() {
    return Optional.of("CUDA needs JDK 25 or later and the packaged jar of portllm-core, built on such a JDK");
  }

  /**
   * The GPU.
   *
   * @throws IllegalStateException if there is none
   */
  public static Device get() {
    throw new IllegalStateException(problem().orElseThrow());
  }
}
