package io.portllm.internal.run;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Executor;
import java.util.function.BooleanSupplier;

/**
 * Runs tasks on a few threads until all are done, one fails, or the caller cancels. The threads are its own, or an executor's.
 *
 * <p>The first failure is thrown to the caller once no thread works any more; later ones are attached to it. Interrupting the caller
 * cancels: threads finish the task at hand, and the caller's interrupt flag stays set. The threads themselves are never interrupted,
 * since that would close the files they share.
 */
public final class Parallel {
  /** A piece of work. */
  public interface Task {
    void run() throws IOException;
  }

  private final BooleanSupplier cancelled;
  private final Iterator<? extends Task> tasks;
  private Throwable failure;
  private int working;
  private boolean over;

  private Parallel(BooleanSupplier cancelled, Iterator<? extends Task> tasks) {
    this.cancelled = cancelled;
    this.tasks = tasks;
  }

  /**
   * Runs {@code tasks} on threads of its own, started in their order. The iterator is used by one thread at a time.
   *
   * @param threads how many
   * @param cancelled asked before each task; true ends the run with a {@link CancellationException}
   */
  public static void run(int threads, BooleanSupplier cancelled, Iterable<? extends Task> tasks) throws IOException {
    List<Thread> own = new ArrayList<>();
    try {
      run(worker -> own.add(start(worker, own.size())), threads, cancelled, tasks);
    } finally {
      boolean interrupted = Thread.interrupted();
      for (Thread thread : own) {
        while (thread.isAlive()) {
          try {
            // None has anything left to do.
            thread.join();
          } catch (InterruptedException e) {
            interrupted = true;
          }
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static Thread start(Runnable worker, int number) {
    Thread thread = new Thread(worker, "portllm-" + number);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  /**
   * Runs {@code tasks} on threads of {@code executor}, of which at least one must come to run. Those that come after the last task was
   * taken are not waited for.
   */
  public static void run(Executor executor, int threads, BooleanSupplier cancelled, Iterable<? extends Task> tasks) throws IOException {
    new Parallel(cancelled, tasks.iterator()).run(executor, threads);
  }

  private void run(Executor executor, int threads) throws IOException {
    try {
      for (int i = 0; i < threads; i++) {
        executor.execute(this::work);
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
    while (!isOver()) {
      try {
        awaitWorker();
      } catch (InterruptedException e) {
        interrupted = true;
        fail(new CancellationException("interrupted"));
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    rethrow();
  }

  /** Whether there is nothing left to do and nobody does anything; from then on nobody will. */
  private synchronized boolean isOver() {
    over = working == 0 && (failure != null || !tasks.hasNext());
    return over;
  }

  private synchronized void awaitWorker() throws InterruptedException {
    if (!isOver()) {
      wait();
    }
  }

  private synchronized boolean begin() {
    if (over) {
      return false;
    }
    working++;
    return true;
  }

  private synchronized void end() {
    working--;
    notifyAll();
  }

  private void work() {
    if (!begin()) {
      return;
    }
    try {
      Task task;
      while ((task = next()) != null) {
        task.run();
      }
    } catch (Throwable e) {
      fail(e);
    } finally {
      end();
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
