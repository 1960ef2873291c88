package io.portllm.internal.compress;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.Shape;
import io.portllm.compress.Compressed;
import io.portllm.compress.Compression;
import io.portllm.compress.Loss;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.Glob;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.FutureTask;
import java.util.function.Predicate;

/** Compresses the changes of one patch, each for itself. */
public final class PatchCompression {
  private final Compression compression;
  private final List<String> only;
  private final Executor executor;
  private final ProgressListener progress;
  private final DeltaValues.Shared shared = new DeltaValues.Shared();
  private final Kept.Blocks blocks = new Kept.Blocks();
  private volatile boolean failed;
  private long total;
  private long done;

  /**
   * What became of a change.
   *
   * @param nonFinite how many values are infinite or NaN; if any, the rest means nothing
   */
  private record Outcome(Delta delta, boolean whole, long nonFinite, Loss loss) {}

  /** See {@link io.portllm.compress.Compressor}. */
  public PatchCompression(Compression compression, List<String> only, Executor executor, ProgressListener progress) {
    this.compression = compression;
    this.only = only;
    this.executor = executor;
    this.progress = progress;
  }

  /** See {@link io.portllm.compress.Compressor#compress}. */
  public Compressed compress(Patch patch) throws IOException {
    Predicate<String> chosen = only.isEmpty() ? name -> true : Glob.anyOf(only, patch.deltas().keySet());
    Map<String, Delta> deltas = new TreeMap<>();
    Map<String, FutureTask<Outcome>> tasks = new TreeMap<>();
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      String name = entry.getKey();
      Delta delta = entry.getValue();
      if (delta.isAdditive()) {
        Changes changes = new Changes(name, delta, shared);
        boolean whole = !chosen.test(name) || only.isEmpty() && isKeptWhole(name, delta) || isNoMatrix(name, delta);
        total += 4 * delta.shape().elements();
        tasks.put(name, new FutureTask<>(() -> step(name, delta, changes, whole)));
      } else {
        deltas.put(name, delta);
      }
    }
    progress.started(total);
    Map<String, Outcome> outcomes = run(tasks);
    Map<String, Loss> losses = new TreeMap<>();
    Set<String> whole = new TreeSet<>();
    List<Mismatch> mismatches = new ArrayList<>();
    outcomes.forEach(
        (name, outcome) -> {
          if (outcome.nonFinite() > 0) {
            mismatches.add(Mismatch.of(name, outcome.nonFinite() + " changes are infinite or NaN"));
          } else if (outcome.loss().squares() > 0) {
            deltas.put(name, outcome.delta());
            losses.put(name, outcome.loss());
            if (outcome.whole()) {
              whole.add(name);
            }
          }
        });
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException("the patch " + Names.quote(patch.recipe()) + " cannot be compressed", mismatches);
    }
    double error = losses.values().stream().reduce(new Loss(0, 0), Loss::plus).relativeError();
    String recipe = String.format(Locale.ROOT, "(%s) at %s, relative error %.4g", patch.recipe(), compression.description(), error);
    return new Compressed(Patch.of(deltas, patch.base(), recipe).withTokens(patch.tokens()), losses, whole);
  }

  private Map<String, Outcome> run(Map<String, FutureTask<Outcome>> tasks) throws IOException {
    Map<String, Outcome> outcomes = new TreeMap<>();
    try {
      for (FutureTask<Outcome> task : tasks.values()) {
        if (Thread.currentThread().isInterrupted()) {
          throw new InterruptedException();
        }
        executor.execute(task);
      }
      ExecutionException failure = null;
      for (Map.Entry<String, FutureTask<Outcome>> task : tasks.entrySet()) {
        try {
          outcomes.put(task.getKey(), task.getValue().get());
        } catch (ExecutionException e) {
          failure = failure == null || failure.getCause() instanceof CancellationException ? e : failure;
        }
      }
      if (failure != null) {
        throw failure;
      }
      return outcomes;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted");
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException cause) {
        throw cause;
      } else if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw (Error) e.getCause();
    } finally {
      // Only after an interrupt is anything left: what has not begun never will, and what runs ends by itself.
      tasks.values().forEach(task -> task.cancel(false));
    }
  }

  /** Compresses a change, unless another has failed, and tells the listener. */
  private Outcome step(String name, Delta delta, Changes changes, boolean whole) throws IOException {
    if (failed) {
      throw new CancellationException("another tensor failed");
    }
    try {
      Outcome outcome = compress(name, delta, changes, whole);
      advance(4 * delta.shape().elements());
      return outcome;
    } catch (Throwable e) {
      failed = true;
      throw e;
    }
  }

  private synchronized void advance(long bytes) {
    done += bytes;
    progress.progressed(done, total);
  }

  private boolean isKeptWhole(String name, Delta delta) {
    boolean small = Terms.of(delta).stream().map(Delta.Term::delta).allMatch(PatchCompression::isSmall);
    return small || delta.shape().rank() < 2 || compression.keepsVocabulary() && Embeddings.isVocabulary(name);
  }

  /** Whether a change has no singular directions to keep. */
  private boolean isNoMatrix(String name, Delta delta) {
    Shape shape = delta.shape();
    return compression instanceof Compression.Bands && (shape.rank() < 2 || Stacks.isStack(name, shape));
  }

  private static boolean isSmall(Delta term) {
    return term instanceof Delta.LowRank || term instanceof Delta.Rows || term instanceof Delta.Quantised || term instanceof Delta.Sparse;
  }

  private Outcome compress(String name, Delta delta, Changes changes, boolean whole) throws IOException {
    Statistics statistics = Statistics.of(changes);
    Loss none = new Loss(statistics.squares(), 0);
    if (whole || statistics.nonFinite() > 0 || statistics.largest() == 0) {
      return new Outcome(delta, whole, statistics.nonFinite(), none);
    }
    Delta compressed = compressed(name, delta, changes, statistics);
    return new Outcome(compressed, false, 0, loss(changes, new Changes(name, compressed, shared)));
  }

  private Delta compressed(String name, Delta delta, Changes changes, Statistics statistics) throws IOException {
    Shape shape = delta.shape();
    if (compression instanceof Compression.Bits bits) {
      return Quantiser.quantise(name, shape, bits.bits(), group(shape, bits.group()), changes, statistics, changes.inputs());
    }
    if (compression instanceof Compression.Bands bands) {
      return Banding.of(name, delta, bands, () -> failed);
    }
    Compression.Density density = (Compression.Density) compression;
    Kept kept = Kept.of(changes, Math.max(1, Math.round(density.density() * shape.elements())), blocks);
    OptionalInt bits = density.values().map(values -> OptionalInt.of(values.bits())).orElse(OptionalInt.empty());
    long group = density.values().map(values -> group(Shape.of(kept.count()), values.group())).orElse(0L);
    Delta.Sparse sparse = Sparsifier.sparsify(name, shape, kept, bits, group, changes.inputs());
    if (!density.rescale()) {
      return sparse;
    }
    double factor = statistics.magnitudes() / Statistics.of(kept).magnitudes();
    return factor == 1 ? sparse : new Delta.Sum(List.of(new Delta.Term(factor, sparse)));
  }

  /** Where a group would be all of a single row, or a row is all there is, one scale for all is the same. */
  private static long group(Shape shape, long group) {
    if (shape.rank() < 2) {
      return group >= shape.elements() ? 0 : group;
    }
    return group >= shape.columns() ? shape.columns() : group;
  }

  private static Loss loss(Changes changes, Changes compressed) throws IOException {
    float[] kept = new float[(int) Math.min(Statistics.BLOCK, changes.count())];
    double[] sums = new double[2];
    long[] first = new long[1];
    Statistics.forEachBlock(
        changes,
        (values, length) -> {
          compressed.read(first[0], length, kept);
          first[0] += length;
          double squares = 0;
          double lost = 0;
          for (int i = 0; i < length; i++) {
            double value = values[i];
            double less = value - kept[i];
            squares += value * value;
            lost += less * less;
          }
          sums[0] += squares;
          sums[1] += lost;
        });
    return new Loss(sums[0], sums[1]);
  }
}
