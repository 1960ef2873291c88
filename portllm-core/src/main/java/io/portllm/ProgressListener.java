package io.portllm;

/**
 * Is told how a long operation goes on. Called by the working threads, one call at a time; should return fast. An exception
 * thrown here stops the operation, which then leaves nothing behind.
 */
public interface ProgressListener {
  /** Listens to nothing. */
  ProgressListener NONE = new ProgressListener() {};

  /**
   * Work starts.
   *
   * @param totalBytes bytes that will be processed in all
   */
  default void started(long totalBytes) {}

  /**
   * Some work was done.
   *
   * @param doneBytes bytes processed so far, never less than in the call before
   * @param totalBytes bytes that will be processed in all
   */
  default void progressed(long doneBytes, long totalBytes) {}
}
