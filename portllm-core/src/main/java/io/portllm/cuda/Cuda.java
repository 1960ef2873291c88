package io.portllm.cuda;

import io.portllm.internal.cuda.Devices;
import java.util.Optional;

/**
 * Whether there is a GPU to work with.
 *
 * <p>One is used with a CUDA driver from version 12 on, a GPU of compute capability 7.5 or later, JDK 25 or later, and the packaged jar
 * built on such a JDK; nothing else need be installed. The JVM asks for {@code --enable-native-access=ALL-UNNAMED}. Of several GPUs the
 * first is used; the environment variable {@code CUDA_VISIBLE_DEVICES} chooses another.
 */
public final class Cuda {
  private Cuda() {}

  /** Why no GPU can be used; empty if one can. */
  public static Optional<String> problem() {
    return Devices.problem();
  }
}
