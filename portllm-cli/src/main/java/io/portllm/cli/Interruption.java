package io.portllm.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C and TERM: the write at hand is cancelled and removes what it had written before the JVM ends.
 */
final class Interruption {
  /** A chunk takes milliseconds; a disk that hangs must not keep the JVM alive. */
  private static final long PATIENCE_SECONDS = 20;

  private static final CountDownLatch DONE = new CountDownLatch(1);
  private static volatile boolean requested;

  private Interruption() {}

  /** From now on the JVM does not end before {@link #done} was called. */
  static void listen() {
    Runtime.getRuntime().addShutdownHook(new Thread(Interruption::request, "portllm-interruption"));
  }

  private static void request() {
    requested = true;
    try {
      DONE.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Whether the JVM was asked to end. */
  static boolean isRequested() {
    return requested;
  }

  /** The command has ended. */
  static void done() {
    DONE.countDown();
  }
}
