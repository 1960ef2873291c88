package io.portllm.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/** Runs a scoring command on the files of a model. No shell is involved. */
final class ScoringProcess {
  /** What stands for the model's path in a command. */
  static final String PLACE = "{}";

  /** How often it is asked whether the user wants to end. */
  private static final long POLL_MILLIS = 50;

  /** How long a program that is told to end may take before it is killed. */
  private static final long GRACE_SECONDS = 5;

  /** How long after its end a program's output may stay open: what is left to read takes milliseconds, on a busy machine more. */
  private static final long DRAIN_SECONDS = 60;

  private final String option;
  private final List<String> words;
  private final Optional<Duration> timeout;

  /**
   * A command.
   *
   * @param option the option that gave it, which messages begin with
   * @param words the program and its arguments, with {@link #PLACE} at least once
   * @param timeout how long one run may take
   */
  ScoringProcess(String option, List<String> words, Optional<Duration> timeout) {
    this.option = option;
    this.words = List.copyOf(words);
    this.timeout = timeout;
  }

  /** What messages about a run begin with. */
  String named(String model) {
    return "[" + option + "] on " + io.portllm.internal.text.Names.quote(model);
  }

  /**
   * Runs the command and reads the scores that it prints; what it writes to standard error goes to this process' own.
   *
   * @param name what the model is called in messages
   * @throws IOException if the command cannot be started, fails, takes too long, or prints what are no scores
   * @throws CancellationException if the user interrupted; the command has ended then
   */
  Scores run(Path model, String name) throws IOException {
    Process process;
    try {
      List<String> command = new ArrayList<>();
      words.forEach(word -> command.add(word.replace(PLACE, model.toAbsolutePath().toString())));
      process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    } catch (IOException e) {
      throw new IOException(named(name) + ": cannot be started: " + e.getMessage() + " (SC-START)", e);
    }
    try {
      process.getOutputStream().close();
      return scores(process, name);
    } finally {
      end(process);
    }
  }

  private Scores scores(Process process, String name) throws IOException {
    CompletableFuture<Scores> reading = new CompletableFuture<>();
    Thread reader = new Thread(() -> {
      try {
        reading.complete(Scores.read(process.getInputStream(), named(name)));
      } catch (IOException | RuntimeException | Error e) {
        reading.completeExceptionally(e);
      }
    }, "portllm-scores");
    reader.setDaemon(true);
    reader.start();
    long started = System.nanoTime();
    try {
      // A line that is no score ends the run at once: a model may take hours.
      while (!reading.isCompletedExceptionally() && !process.waitFor(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
        requireMayGoOn(name, started);
      }
      // Ctrl-C on a terminal ends the program too; that is not its failure.
      requireMayGoOn(name, started);
      if (!process.isAlive() && process.exitValue() != 0) {
        throw new IOException(named(name) + ": ended with exit code " + process.exitValue() + " (SC-EXIT)");
      }
      long ended = System.nanoTime();
      while (!reading.isDone()) {
        requireMayGoOn(name, started);
        if (System.nanoTime() - ended > TimeUnit.SECONDS.toNanos(DRAIN_SECONDS)) {
          throw new IOException(named(name) + ": ended, but left a program behind that holds its output open (SC-EXIT)");
        }
        Thread.sleep(POLL_MILLIS);
      }
      return reading.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException failure) {
        throw failure;
      }
      throw new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted");
    }
  }

  private void requireMayGoOn(String name, long started) throws IOException {
    if (Interruption.isRequested()) {
      throw new CancellationException("cancelled");
    }
    if (timeout.isPresent() && System.nanoTime() - started > timeout.get().toNanos()) {
      throw new IOException(named(name) + ": took longer than " + timeout.get().toSeconds() + " seconds (SC-TIME)");
    }
  }

  /** Ends the command and what it started; returns when they have ended, so that their files can be removed. */
  private static void end(Process process) {
    List<ProcessHandle> tree = Stream.concat(Stream.of(process.toHandle()), process.descendants()).toList();
    tree.forEach(ProcessHandle::destroy);
    if (!ended(tree)) {
      tree.forEach(ProcessHandle::destroyForcibly);
      ended(tree);
    }
  }

  /** Whether processes have ended, after some patience. */
  private static boolean ended(List<ProcessHandle> processes) {
    CompletableFuture<?>[] exits = processes.stream().map(ProcessHandle::onExit).toArray(CompletableFuture<?>[]::new);
    try {
      CompletableFuture.allOf(exits).get(GRACE_SECONDS, TimeUnit.SECONDS);
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    } catch (ExecutionException | TimeoutException e) {
      return false;
    }
  }
}
