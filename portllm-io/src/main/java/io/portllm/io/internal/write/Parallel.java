package io.portllm.io.internal.write;

import io.portllm.io.WriteOptions;
import java.io.IOException;

/** Runs tasks as options for writing say. */
public final class Parallel {
  /** A piece of work. */
  public interface Task extends io.portllm.internal.run.Parallel.Task {}

  /** Memory off the heap that a thread takes as a rule: what it writes and, of a difference, two operands. */
  private static final long BYTES_PER_THREAD = 2 << 20;

  private Parallel() {}

  /**
   * Runs {@code tasks}, started in their order, until all are done, one fails, or the caller cancels. No more threads work than three
   * quarters of the largest heap have memory for, since the memory off the heap has its bound, unless the JVM was given another.
   */
  public static void run(WriteOptions options, Iterable<? extends Task> tasks) throws IOException {
    long fitting = Math.max(1, Runtime.getRuntime().maxMemory() / 4 * 3 / BYTES_PER_THREAD);
    int threads = (int) Math.min(options.threads(), fitting);
    if (options.executor().isPresent()) {
      io.portllm.internal.run.Parallel.run(options.executor().get(), threads, options.cancelled(), tasks);
    } else {
      io.portllm.internal.run.Parallel.run(threads, options.cancelled(), tasks);
    }
  }
}
