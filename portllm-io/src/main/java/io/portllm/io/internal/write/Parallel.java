package io.portllm.io.internal.write;

import io.portllm.io.WriteOptions;
import java.io.IOException;

/** Runs tasks as options for writing say. */
public final class Parallel {
  /** A piece of work. */
  public interface Task extends io.portllm.internal.run.Parallel.Task {}

  private Parallel() {}

  /** Runs {@code tasks}, started in their order, until all are done, one fails, or the caller cancels. */
  public static void run(WriteOptions options, Iterable<? extends Task> tasks) throws IOException {
    if (options.executor().isPresent()) {
      io.portllm.internal.run.Parallel.run(options.executor().get(), options.threads(), options.cancelled(), tasks);
    } else {
      io.portllm.internal.run.Parallel.run(options.threads(), options.cancelled(), tasks);
    }
  }
}
