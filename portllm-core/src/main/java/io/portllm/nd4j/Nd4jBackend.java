package io.portllm.nd4j;

import org.nd4j.linalg.factory.Nd4j;

/** The backend that the application has, if it has one. */
final class Nd4jBackend {
  private Nd4jBackend() {}

  /**
   * Loads the backend.
   *
   * @throws IllegalStateException if there is none, or its natives do not load
   */
  static void require() {
    try {
      Nd4j.getBackend();
    } catch (LinkageError | RuntimeException e) {
      throw new IllegalStateException(
          "no ND4J backend could be loaded: add org.nd4j:nd4j-native:1.0.0-M2.1 to the class path, and the same with the classifier "
              + "of this platform, such as linux-x86_64",
          e);
    }
  }
}
