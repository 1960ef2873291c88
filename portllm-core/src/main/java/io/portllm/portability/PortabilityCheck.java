package io.portllm.portability;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.internal.portability.Chain;
import io.portllm.internal.portability.Checker;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/**
 * Judges, without data, whether patches will work on new bases. Immutable.
 *
 * <p>{@snippet :
 * PortabilityReport report = PortabilityCheck.defaults().withOldBase(base).check(patch, newBase);
 * if (report.verdict() != Verdict.PORT) {
 *   System.out.println(report);
 * }
 * }
 */
public final class PortabilityCheck {
  private static final PortabilityCheck DEFAULTS =
      new PortabilityCheck(
          Optional.empty(), MergeOptions.defaults(), Runtime.getRuntime().availableProcessors(), ProgressListener.NONE, () -> false);

  private final Optional<ModelVersion> oldBase;
  private final MergeOptions mergeOptions;
  private final int threads;
  private final ProgressListener progress;
  private final BooleanSupplier cancelled;

  private PortabilityCheck(
      Optional<ModelVersion> oldBase, MergeOptions mergeOptions, int threads, ProgressListener progress, BooleanSupplier cancelled) {
    this.oldBase = oldBase;
    this.mergeOptions = Objects.requireNonNull(mergeOptions, "options");
    this.threads = threads;
    this.progress = Objects.requireNonNull(progress, "listener");
    this.cancelled = Objects.requireNonNull(cancelled, "question");
  }

  /**
   * A check that takes the old base from the patch if it is at hand there, and else what a patch file remembers of it; with one thread for
   * each processor.
   */
  public static PortabilityCheck defaults() {
    return DEFAULTS;
  }

  /** This check with the model that the patch was made on, of which every tensor is read. It must be open during the check. */
  public PortabilityCheck withOldBase(ModelVersion base) {
    return new PortabilityCheck(Optional.of(base), mergeOptions, threads, progress, cancelled);
  }

  /** This check of a patch that will be applied with these options. */
  public PortabilityCheck withMergeOptions(MergeOptions options) {
    return new PortabilityCheck(oldBase, options, threads, progress, cancelled);
  }

  /**
   * This check with another number of working threads, each on a tensor of its own. The report does not depend on it.
   *
   * @param count at least 1
   */
  public PortabilityCheck withThreads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads must be at least 1 but was " + count);
    }
    return new PortabilityCheck(oldBase, mergeOptions, count, progress, cancelled);
  }

  /** This check with a listener, told of the bytes of both bases. */
  public PortabilityCheck withProgress(ProgressListener listener) {
    return new PortabilityCheck(oldBase, mergeOptions, threads, listener, cancelled);
  }

  /**
   * This check with a question asked before each block. Once it answers true, the check stops with a
   * {@link java.util.concurrent.CancellationException}.
   */
  public PortabilityCheck cancelledWhen(BooleanSupplier question) {
    return new PortabilityCheck(oldBase, mergeOptions, threads, progress, question);
  }

  /**
   * Judges a patch. Reads both bases and the patch once, block by block: memory is a few blocks for each thread, of 16,384 elements or four
   * rows, and for each matrix that is worked on and changed up to 112 rows of float64. Of a new base that is stored in another form than it
   * is compared in, a sample is stored anew ({@link PortabilityReport#storage}). A patch that does not fit is no error here but a verdict.
   *
   * @param patch whose models must be open
   * @throws java.util.concurrent.CancellationException if it was cancelled, or the calling thread was interrupted
   * @throws IOException if reading failed
   */
  public PortabilityReport check(Patch patch, ModelVersion newBase) throws IOException {
    return new Checker(oldBase, mergeOptions, threads, progress, cancelled).check(patch, newBase);
  }

  /**
   * Judges a patch on release after release, each against the model that the patch was made on, and looks for the release at which it stops
   * working.
   *
   * @param newBases at least one, in the order of their release
   * @throws java.util.concurrent.CancellationException if it was cancelled, or the calling thread was interrupted
   * @throws IOException if reading failed
   */
  public ChainReport checkChain(Patch patch, List<ModelVersion> newBases) throws IOException {
    if (newBases.isEmpty()) {
      throw new IllegalArgumentException("there must be at least one new base");
    }
    List<PortabilityReport> reports = new ArrayList<>();
    for (ModelVersion newBase : newBases) {
      reports.add(check(patch, newBase));
    }
    return Chain.of(reports);
  }
}
