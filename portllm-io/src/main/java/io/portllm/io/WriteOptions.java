package io.portllm.io;

import com.google.common.collect.ImmutableList;
import io.portllm.ProgressListener;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.function.BooleanSupplier;

/**
 * How a model or patch is written. Immutable.
 */
public final class WriteOptions {
  private static final WriteOptions DEFAULTS =
      new WriteOptions(
          false,
          false,
          Runtime.getRuntime().availableProcessors(),
          ProgressListener.NONE,
          () -> false,
          true,
          Optional.empty(),
          Optional.empty(),
          List.of());

  private final boolean overwrite;
  private final boolean record;
  private final int threads;
  private final ProgressListener progress;
  private final BooleanSupplier cancelled;
  private final boolean sketches;
  private final Optional<Executor> executor;
  private final Optional<String> work;
  private final List<Path> workInputs;

  private WriteOptions(
      boolean overwrite,
      boolean record,
      int threads,
      ProgressListener progress,
      BooleanSupplier cancelled,
      boolean sketches,
      Optional<Executor> executor,
      Optional<String> work,
      List<Path> workInputs) {
    this.overwrite = overwrite;
    this.record = record;
    this.threads = threads;
    this.progress = progress;
    this.cancelled = cancelled;
    this.sketches = sketches;
    this.executor = executor;
    this.work = work;
    this.workInputs = workInputs;
  }

  /** An existing output is refused; no record; one thread for each processor; nobody listens. */
  public static WriteOptions defaults() {
    return DEFAULTS;
  }

  /** These options, replacing an existing output once the new one is complete. */
  public WriteOptions overwriting() {
    return new WriteOptions(true, record, threads, progress, cancelled, sketches, executor, work, workInputs);
  }

  /**
   * These options with a record of each model that is written: {@code portllm.json} in a folder, {@code NAME.portllm.json} beside a file,
   * which {@link Verification} compares the model with. It says what was put onto what, and has a digest of each file and each tensor; for
   * that, the output and what was changed in the new base are read again. Patch files have digests of their own.
   */
  public WriteOptions recording() {
    return new WriteOptions(overwrite, true, threads, progress, cancelled, sketches, executor, work, workInputs);
  }

  /** These options without a record. */
  public WriteOptions withoutRecord() {
    return new WriteOptions(overwrite, false, threads, progress, cancelled, sketches, executor, work, workInputs);
  }

  /**
   * These options with another number of working threads, which bounds memory too: each holds 1 MiB of the output and 0.5 MiB of each
   * operand off the heap, two for a difference, and half a megabyte on it. No more work than three quarters of the largest heap have
   * 2 MiB for: 24 with {@code -Xmx64m}. The bytes written do not depend on it.
   *
   * @param count at least 1
   */
  public WriteOptions withThreads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads must be at least 1 but was " + count);
    }
    return new WriteOptions(overwrite, record, count, progress, cancelled, sketches, executor, work, workInputs);
  }

  /**
   * These options with the caller's threads in place of threads made for each write. As many pieces of work are handed to {@code
   * executor} as there are {@link #withThreads threads}; each goes on until nothing is left to do. The write waits, and so must not use
   * up the last thread of the executor itself. Its threads must not be interrupted while they work: that closes the files, and the write
   * fails.
   *
   * @param other not shut down here; if it refuses work, the write fails with its {@link java.util.concurrent.RejectedExecutionException}
   */
  public WriteOptions withExecutor(Executor other) {
    return new WriteOptions(overwrite, record, threads, progress, cancelled, sketches, Optional.of(other), work, workInputs);
  }

  /** These options with a listener. */
  public WriteOptions withProgress(ProgressListener listener) {
    Objects.requireNonNull(listener, "listener");
    return new WriteOptions(overwrite, record, threads, listener, cancelled, sketches, executor, work, workInputs);
  }

  /**
   * These options with a question asked before each chunk. Once it answers true, writing stops with a
   * {@link java.util.concurrent.CancellationException} and leaves nothing behind. Interrupting the calling thread does the same.
   */
  public WriteOptions cancelledWhen(BooleanSupplier question) {
    Objects.requireNonNull(question, "question");
    return new WriteOptions(overwrite, record, threads, progress, question, sketches, executor, work, workInputs);
  }

  /**
   * These options for a patch file that keeps no sketches of its base, and so is up to 8 KiB smaller for each tensor of the base; whether
   * the patch will work on a new base can then be told only with the old one at hand. Concerns patch files alone.
   */
  public WriteOptions withoutSketches() {
    return new WriteOptions(overwrite, record, threads, progress, cancelled, false, executor, work, workInputs);
  }

  /**
   * These options with a write of several weight files that can go on where it stopped. Each file that is finished is noted in a journal
   * with its SHA-256; if the write is killed, cancelled or fails, what it finished stays in a hidden folder beside the target, until
   * something is written to that target again. The next write with these options takes over the finished files whose bytes still have the
   * digest that was noted, provided that it is the same work on the same inputs by the same version; else it says why not in
   * {@link WriteReport#notTakenOver} and writes anew. Either way the output is the same, bit for bit.
   *
   * <p>An input counts as the same if name, size, times of change, identity and its first and last MiB are: not every byte is read again.
   * On systems that do not keep a time of change that users cannot set, a file that was altered in its middle and given its old time back
   * goes unnoticed.
   *
   * <p>Concerns models that are written as folders; other outputs are written anew. Each weight file is read once more for its digest.
   *
   * @param what what is computed, in words that differ whenever the bytes of the output might: the change with all its options
   * @param inputs all files and folders that it is computed from; of folders, the files in them and in the folders directly in them
   */
  public WriteOptions resuming(String what, Path... inputs) {
    return new WriteOptions(
        overwrite, record, threads, progress, cancelled, sketches, executor, Optional.of(what), ImmutableList.copyOf(inputs));
  }

  /** Whether an existing output is replaced. */
  public boolean overwrites() {
    return overwrite;
  }

  /** Whether a record is written. */
  public boolean records() {
    return record;
  }

  /** The number of working threads. */
  public int threads() {
    return threads;
  }

  /** Whose threads work, if they are not made for each write. */
  public Optional<Executor> executor() {
    return executor;
  }

  /** Who is told of progress. */
  public ProgressListener progress() {
    return progress;
  }

  /** Whether a patch file keeps sketches of its base. */
  public boolean sketches() {
    return sketches;
  }

  /** What is computed, if the write can go on where it stopped. */
  public Optional<String> resumableWork() {
    return work;
  }

  /** What it is computed from, if the write can go on where it stopped. */
  public List<Path> resumableInputs() {
    return workInputs;
  }

  /** Asked before each chunk; true stops the write. */
  public BooleanSupplier cancelled() {
    return cancelled;
  }
}
