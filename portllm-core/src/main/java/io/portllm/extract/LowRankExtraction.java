package io.portllm.extract;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Iterables;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.Shape;
import io.portllm.Tying;
import io.portllm.extract.TensorExtract.Form;
import io.portllm.internal.extract.Approximation;
import io.portllm.internal.extract.Matrix;
import io.portllm.internal.extract.StackedProduct;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.GatheredRows;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.internal.patch.StackedFactors;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.run.Parallel;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;

/**
 * Puts low-rank factors in place of the full changes of a patch, as LoRA has them (LoRE, arXiv 2405.15007).
 *
 * <p>{@snippet :
 * Extract extract = LowRankExtraction.by(RankRule.rank(32)).of(Patch.from(fineTuned, base));
 * PatchFile.write(extract.patch(), Path.of("clinic-r32.patch.safetensors"));
 * System.out.println(extract.relativeError());
 * }
 *
 * <p>Factors get every matrix, every convolution's weight seen as out × rest, and each matrix of a stack for itself, such as fused
 * experts: a parameter of three and more dimensions that is not called weight or whose name speaks of experts. A rule of energy that would
 * keep one matrix of a stack whole keeps all of it. Kept as they are: embeddings and heads, of which only the changed rows are kept where
 * these are a quarter at most; vectors; replaced weights; and changes that are factors of no greater rank already. A tensor that did not
 * change is left out.
 *
 * <p>A change that is a sum of low-rank products, such as adapters that were merged by {@link io.portllm.merge.MergeMethod.Sum}, is
 * recompressed: QR decompositions of the stacked factors (FLoRA, arXiv 2409.05976) and the singular values of the small matrix between
 * them give the best factors of the lesser rank, in float64 and without the product ever being formed. Embeddings and heads that have
 * factors take part. What counts as the change then is the product of the factors as stored, not rounded to float32.
 *
 * <p>Any other change of a tensor is read about six times, a few rows at a time, and never held whole; each working thread needs
 * 8 · (3 · columns + 2 · rows) · 1.5 · rank bytes, and a rule of energy several times that where it finds a great rank. For products, it is
 * 40 · (rows + columns) bytes for each of the stacked ranks, at most. Results are the same bits for any number of threads.
 *
 * <p>Immutable, and safe for use by many threads.
 */
public final class LowRankExtraction {
  private static final int SCANNED = 64 << 10;

  private final RankRule rule;
  private final int threads;
  private final ProgressListener progress;
  private final BooleanSupplier cancelled;

  private LowRankExtraction(RankRule rule, int threads, ProgressListener progress, BooleanSupplier cancelled) {
    this.rule = Objects.requireNonNull(rule, "rule");
    this.threads = threads;
    this.progress = Objects.requireNonNull(progress, "listener");
    this.cancelled = Objects.requireNonNull(cancelled, "question");
  }

  /** Extraction by this rule, with one thread for each processor. */
  public static LowRankExtraction by(RankRule rule) {
    return new LowRankExtraction(rule, Runtime.getRuntime().availableProcessors(), ProgressListener.NONE, () -> false);
  }

  /**
   * This extraction with another number of working threads. Each works on a tensor of its own.
   *
   * @param count at least 1
   */
  public LowRankExtraction withThreads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads must be at least 1 but was " + count);
    }
    return new LowRankExtraction(rule, count, progress, cancelled);
  }

  /** This extraction with a listener, which is told of each finished tensor. */
  public LowRankExtraction withProgress(ProgressListener listener) {
    return new LowRankExtraction(rule, threads, listener, cancelled);
  }

  /**
   * This extraction with a question asked before each block of rows. Once it answers true, extraction stops with a
   * {@link java.util.concurrent.CancellationException}.
   */
  public LowRankExtraction cancelledWhen(BooleanSupplier question) {
    return new LowRankExtraction(rule, threads, progress, question);
  }

  /**
   * Extracts.
   *
   * @param patch whose models must be open; the result reads from them what it keeps whole
   * @throws IncompatibleModelException if changes that should get factors are NaN or infinite, with every such tensor
   * @throws IllegalStateException if a change depends on the weights of the new base
   * @throws java.util.concurrent.CancellationException if it was cancelled
   * @throws IOException if reading failed
   */
  public Extract of(Patch patch) throws IOException {
    patch.deltas().forEach(LowRankExtraction::requireEvaluable);
    List<Map.Entry<String, Delta>> changes = new ArrayList<>(patch.deltas().entrySet());
    // Large tensors first, so that no thread is left with one at the end.
    changes.sort(Comparator.comparingLong((Map.Entry<String, Delta> entry) -> -elements(entry.getValue())));
    Progress done = new Progress(progress, 4 * changes.stream().mapToLong(entry -> elements(entry.getValue())).sum());
    boolean mayHaveRows = mayHaveRows(patch);
    Map<String, Result> results = new ConcurrentHashMap<>();
    Map<String, Long> refused = new ConcurrentHashMap<>();
    Parallel.run(
        threads,
        cancelled,
        Iterables.transform(
            changes,
            entry ->
                () -> {
                  Worker worker = new Worker(entry.getKey(), entry.getValue(), mayHaveRows);
                  results.put(entry.getKey(), worker.work());
                  if (worker.nonFinite > 0) {
                    refused.put(entry.getKey(), worker.nonFinite);
                  }
                  done.add(4 * elements(entry.getValue()));
                }));
    if (!refused.isEmpty()) {
      throw new IncompatibleModelException("the patch " + Names.quote(patch.recipe()) + " cannot be put into factors", refusals(patch, refused));
    }
    Map<String, Delta> deltas = new TreeMap<>();
    ImmutableList.Builder<TensorExtract> tensors = ImmutableList.builder();
    patch.deltas().keySet().forEach(
        name -> {
          results.get(name).delta().ifPresent(delta -> deltas.put(name, delta));
          tensors.add(results.get(name).report());
        });
    Patch extracted = Patch.of(deltas, patch.base(), "(" + patch.recipe() + ") " + rule).withTokens(patch.tokens());
    return new Extract(extracted, tensors.build());
  }

  private static void requireEvaluable(String name, Delta delta) {
    if (delta.isAdditive() && !RowEvaluator.isEvaluable(delta)) {
      throw new IllegalStateException(
          "the change of tensor " + Names.quote(name) + " depends on the weights of the new base, and so has no factors; freeze it on its base");
    }
  }

  private static List<Mismatch> refusals(Patch patch, Map<String, Long> refused) {
    return new TreeMap<>(refused)
        .entrySet().stream()
            .map(
                entry ->
                    Mismatch.of(
                        entry.getKey(),
                        entry.getValue() + " of its " + elements(patch.deltas().get(entry.getKey())) + " changes are NaN or infinite"))
            .toList();
  }

  private static long elements(Delta delta) {
    return delta.shape().elements();
  }

  /** Whether changes may be kept by rows: not where embedding and head are one matrix stored twice, of which both must change alike. */
  private static boolean mayHaveRows(Patch patch) {
    return patch.base().filter(base -> base.tying() == Tying.TIED).isEmpty()
        || patch.deltas().keySet().stream().filter(Embeddings::isVocabulary).count() < 2;
  }

  /** The new form of a change; none if it is zero. */
  private record Result(Optional<Delta> delta, TensorExtract report) {}

  /** Finds the new form of one change. */
  private final class Worker {
    private final String name;
    private final Delta delta;
    private final boolean mayHaveRows;
    private long nonFinite;

    Worker(String name, Delta delta, boolean mayHaveRows) {
      this.name = name;
      this.delta = delta;
      this.mayHaveRows = mayHaveRows;
    }

    Result work() throws IOException {
      if (!delta.isAdditive()) {
        return result(delta, Form.WHOLE, 0, elements(delta), 0, 0);
      }
      if (cancelled.getAsBoolean()) {
        throw new CancellationException("cancelled");
      }
      Optional<StackedProduct> product = StackedProduct.of(delta);
      if (product.isPresent()) {
        return recompress(product.get(), delta.shape(), true);
      }
      if (Stacks.isStack(name, delta.shape()) && delta.shape().elements() > 0) {
        return stack(delta.shape());
      }
      RowEvaluator rows = new RowEvaluator(delta);
      if (!isMatrix(rows.shape()) || rows.shape().elements() == 0) {
        return keep(rows);
      }
      return reduce(new Matrix(rows, cancelled), rows.shape());
    }

    /** Each matrix of a stack for itself; all of them or none get factors. */
    private Result stack(Shape shape) throws IOException {
      Optional<List<Delta>> products = Stacks.products(delta);
      Shape matrix = Stacks.matrix(shape);
      List<Delta.LowRank> factors = new ArrayList<>();
      double norms = 0;
      double errors = 0;
      long stored = 0;
      boolean fits = true;
      for (int i = 0; i < Stacks.count(shape); i++) {
        Optional<StackedProduct> product = products.isPresent() ? StackedProduct.of(products.get().get(i)) : Optional.empty();
        Result found =
            product.isPresent()
                ? new Worker(name, products.get().get(i), mayHaveRows).recompress(product.get(), matrix, false)
                : reduce(new Matrix(RowEvaluator.ofMatrix(delta, i), cancelled), matrix);
        norms += found.report().norm() * found.report().norm();
        errors += found.report().error() * found.report().error();
        stored += found.report().stored();
        Optional<Delta.LowRank> one = found.delta().isEmpty() ? Optional.of(nothing(matrix)) : oneProduct(found.delta().get());
        fits &= one.isPresent();
        one.ifPresent(factors::add);
      }
      if (nonFinite > 0 || norms == 0) {
        return unchanged();
      }
      if (!fits) {
        return result(delta, Form.WHOLE, 0, shape.elements(), Math.sqrt(norms), 0);
      }
      int rank = factors.stream().mapToInt(Delta.LowRank::rank).max().orElse(0);
      Delta stacked = new Delta.Computed(new StackedFactors(shape, factors), Optional.empty());
      return result(stacked, Form.FACTORS, rank, stored, Math.sqrt(norms), Math.sqrt(errors));
    }

    /** A change as a single product with a factor of 1, if it is one or a sum of one. */
    private Optional<Delta.LowRank> oneProduct(Delta change) {
      List<Delta.Term> terms = Terms.of(change);
      if (terms.size() > 1 || !(terms.get(0).delta() instanceof Delta.LowRank product)) {
        return Optional.empty();
      }
      double scale = terms.get(0).factor() * product.scale();
      return Optional.of(new Delta.LowRank(product.b(), product.a(), scale, product.transposed(), product.shape()));
    }

    private Delta.LowRank nothing(Shape matrix) {
      return new Delta.LowRank(
          OneTensor.of(name + ".lora_B", Shape.of(matrix.rows(), 0), new float[0]),
          OneTensor.of(name + ".lora_A", Shape.of(0, matrix.columns()), new float[0]),
          1,
          false,
          matrix);
    }

    /**
     * Factors in place of a sum of products.
     *
     * @param maySum whether several products may stay that many, if the rule leaves nothing out
     */
    private Result recompress(StackedProduct product, Shape shape, boolean maySum) {
      boolean mayStay = maySum || Terms.of(delta).size() == 1;
      if (mayStay && rule.energy().isEmpty() && product.rank() <= rule.most()) {
        return asTheyAre(product, shape, product.norm());
      }
      Approximation found = product.approximate(rule);
      if (found.norm() == 0) {
        return unchanged();
      }
      if (mayStay && found.rank() >= product.rank()) {
        return asTheyAre(product, shape, found.norm());
      }
      return factors(found, shape, product.errorOf(found));
    }

    private Result asTheyAre(StackedProduct product, Shape shape, double norm) {
      return result(delta, Form.FACTORS, product.rank(), product.rank() * (shape.rows() + shape.columns()), norm, 0);
    }

    /** A matrix, or the weight of a convolution; stacks are seen to before. */
    private boolean isMatrix(Shape shape) {
      return !Embeddings.isVocabulary(name) && shape.rank() >= 2;
    }

    private Result reduce(Matrix matrix, Shape shape) throws IOException {
      Approximation found = Approximation.of(matrix, rule);
      nonFinite += found.nonFinite();
      if (found.nonFinite() > 0 || found.norm() == 0) {
        return unchanged();
      }
      if (!found.fits()) {
        return result(delta, Form.WHOLE, 0, shape.elements(), found.norm(), 0);
      }
      return factors(found, shape, Math.sqrt(matrix.squaresWithout(found.b(), found.a(), found.rank())));
    }

    private Result factors(Approximation found, Shape shape, double error) {
      int rank = found.rank();
      long[] left = new long[shape.rank()];
      Arrays.fill(left, 1);
      left[0] = shape.rows();
      left[1] = rank;
      Delta.LowRank factors =
          new Delta.LowRank(
              OneTensor.of(name + ".lora_B", Shape.of(left), found.b()),
              OneTensor.of(name + ".lora_A", shape.withRows(rank), found.a()),
              1,
              false,
              shape);
      return result(factors, Form.FACTORS, rank, rank * (shape.rows() + shape.columns()), found.norm(), error);
    }

    private Result keep(RowEvaluator rows) throws IOException {
      List<Long> changed = new ArrayList<>();
      double squares = scan(rows, changed);
      Shape shape = rows.shape();
      if (changed.isEmpty()) {
        return unchanged();
      }
      boolean few = mayHaveRows && shape.rank() == 2 && 4L * changed.size() <= shape.rows();
      if (!few || Terms.of(delta).stream().noneMatch(term -> isFull(term.delta()))) {
        return result(delta, Form.WHOLE, 0, shape.elements(), Math.sqrt(squares), 0);
      }
      ImmutableLongArray indices = ImmutableLongArray.copyOf(changed);
      Delta sum =
          new Delta.Sum(Terms.of(delta).stream().map(term -> new Delta.Term(term.factor(), rowsOf(term.delta(), indices))).toList());
      return result(sum, Form.ROWS, 0, changed.size() * shape.columns(), Math.sqrt(squares), 0);
    }

    private static boolean isFull(Delta change) {
      return change instanceof Delta.Difference || change instanceof Delta.Dense;
    }

    private static Delta rowsOf(Delta change, ImmutableLongArray rows) {
      if (change instanceof Delta.Difference difference) {
        return new Delta.Rows(rows, GatheredRows.of(difference.tuned(), rows), Optional.of(difference.base()), difference.shape());
      } else if (change instanceof Delta.Dense dense) {
        return new Delta.Rows(rows, GatheredRows.of(dense.values(), rows), Optional.empty(), dense.shape());
      }
      return change;
    }

    /** The sum of the squares of the change; collects the rows that are not zero. */
    private double scan(RowEvaluator rows, List<Long> changed) throws IOException {
      long all = rows.shape().rows();
      int columns = Math.toIntExact(rows.shape().columns());
      int step = (int) Math.max(1, Math.min(all, SCANNED / Math.max(1, columns)));
      float[] values = new float[step * columns];
      double squares = 0;
      for (long from = 0; from < all && columns > 0; from += step) {
        int count = (int) Math.min(step, all - from);
        rows.read(from, count, values);
        for (int row = 0; row < count; row++) {
          double square = 0;
          for (int i = row * columns; i < (row + 1) * columns; i++) {
            square += (double) values[i] * values[i];
          }
          if (square != 0) {
            changed.add(from + row);
          }
          squares += square;
        }
      }
      return squares;
    }

    private Result unchanged() {
      return new Result(Optional.empty(), new TensorExtract(name, Form.UNCHANGED, 0, elements(delta), 0, 0, 0));
    }

    private Result result(Delta now, Form form, int rank, long stored, double norm, double error) {
      return new Result(Optional.of(now), new TensorExtract(name, form, rank, elements(delta), stored, norm, error));
    }
  }
}
