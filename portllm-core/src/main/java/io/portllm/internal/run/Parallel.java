package io.portllm.internal.run;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;

/**
 * Runs tasks on a few threads of its own until all are done, one fails, or the caller cancels.
 *
 * <p>The first failure is thrown to the caller once every thread has ended; later ones are attached to it. Interrupting the caller
 * cancels: threads finish the task at hand, and the caller's interrupt flag stays set. The threads themselves are never interrupted,
 * since that would close the files they share.
 */
public final class Parallel {
  /** A piece of work. */
  public interface Task {
    void run() throws IOException;
  }

  private final int count;
  private final BooleanSupplier cancelled;
  private final Iterator<? extends Task> tasks;
  private Throwable failure;

  private Parallel(int count, BooleanSupplier cancelled, Iterator<? extends Task> tasks) {
    this.count = count;
    this.cancelled = cancelled;
    this.tasks = tasks;
  }

  /**
   * Runs {@code tasks}, started in their order. The iterator is used by one thread at a time.
   *
   * @param threads how many
   * @param cancelled asked before each task; true ends the run with a {@link CancellationException}
   */
  public static void run(int threads, BooleanSupplier cancelled, Iterable<? extends Task> tasks) throws IOException {
    new Parallel(threads, cancelled, tasks.iterator()).run();
  }

  private void run() throws IOException {
    List<Thread> threads = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        Thread thread = new Thread(this::work, "portllm-" + i);
        thread.setDaemon(true);
        thread.start();
        threads.add(thread);
      }
    } catch (Throwable e) {
      // Those that did start must have ended before the caller cleans up.
      fail(e);
    }
    // An interrupt from before counts too, however fast the threads are.
    boolean interrupted = Thread.interrupted();
    if (interrupted) {
      fail(new CancellationException("interrupted"));
    }
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
          fail(new CancellationException("interrupted"));
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    rethrow();
  }

  private void work() {
    try {
      Task task;
      while ((task = next()) != null) {
        task.run();
      }
    } catch (Throwable e) {
      fail(e);
    }
  }

  private synchronized Task next() {
    if (failure != null || !tasks.hasNext()) {
      return null;
    }
    if (cancelled.getAsBoolean()) {
      // Noted before the lock is given up, so that no other thread asks again or starts a task.
      fail(new CancellationException("cancelled"));
      return null;
    }
    return tasks.next();
  }

  private synchronized void fail(Throwable e) {
    if (failure == null) {
      failure = e;
    } else if (failure != e) {
      failure.addSuppressed(e);
    }
  }

  private synchronized void rethrow() throws IOException {
    if (failure instanceof IOException e) {
      throw e;
    } else if (failure instanceof RuntimeException e) {
      throw e;
    } else if (failure instanceof Error e) {
      throw e;
    } else if (failure != null) {
      // Other languages throw checked exceptions where Java allows none.
      throw new IOException(failure);
    }
  }
}
