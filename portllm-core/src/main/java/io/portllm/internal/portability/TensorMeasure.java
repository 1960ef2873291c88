package io.portllm.internal.portability;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;

/**
 * Measures one tensor in one pass over its weights, those of the old base if they are at hand, and its change. Holds blocks of rows, about
 * {@value Blocks#ELEMENTS} elements or four rows, and of a matrix that is changed three sketches of up to 32 rows.
 */
final class TensorMeasure {
  private final Tensor newWeights;
  private final Optional<Tensor> oldWeights;
  private final Optional<TensorSketch> recorded;
  private final Optional<Delta> delta;
  private final Optional<PatchedModel> patched;
  private final BooleanSupplier cancelled;
  private final boolean matrix;
  private final Blocks blocks;
  private final long compared;
  private final Sums sums = new Sums();
  private final RunSums runs = new RunSums(sums);

  private Elements fresh;
  private Elements old;
  private Elements change;
  private Optional<ChangeSketch> changeSketch = Optional.empty();
  private WeightSketch newSketch;
  private WeightSketch oldSketch;
  /** Δ as if it were weights, for its angle with an update of which only a sketch is known. */
  private Optional<WeightSketch> changeAsWeights = Optional.empty();
  private String refusal;

  /**
   * A tensor to measure.
   *
   * @param newWeights of an arithmetic type
   * @param oldWeights of an arithmetic type and the same columns, if at hand
   * @param recorded the sketch of the old weights, of the same shape; used if they are not at hand
   * @param delta what the patch does to the tensor, if anything
   * @param patched the new base with the patch on it, if that can be had and changes the tensor
   */
  TensorMeasure(
      Tensor newWeights,
      Optional<Tensor> oldWeights,
      Optional<TensorSketch> recorded,
      Optional<Delta> delta,
      Optional<PatchedModel> patched,
      BooleanSupplier cancelled) {
    this.newWeights = newWeights;
    this.oldWeights = oldWeights;
    this.recorded = oldWeights.isPresent() ? Optional.empty() : recorded;
    this.delta = delta;
    this.patched = patched;
    this.cancelled = cancelled;
    Shape shape = newWeights.info().shape();
    this.matrix = Sketches.isMatrix(shape);
    this.blocks = Blocks.of(shape);
    this.compared = oldWeights
        .map(tensor -> Math.min(tensor.info().elements(), shape.elements()))
        .orElse(recorded.isPresent() ? shape.elements() : 0);
  }

  /** Why applying the patch to this tensor would be refused; null if it would not. */
  String refusal() {
    return refusal;
  }

  /** The sums; all of the new base is read. */
  Sums measure() throws IOException {
    long elements = newWeights.info().elements();
    fresh = blocks.elements();
    old = oldWeights.isPresent() ? blocks.elements() : null;
    change = delta.isPresent() ? blocks.elements() : null;
    ChangeReader changes = delta.isPresent() ? new ChangeReader() : null;
    boolean sketched = oldWeights.isPresent() || recorded.isPresent();
    changeSketch = matrix && delta.isPresent() && sketched
        ? Optional.of(ChangeSketch.of(delta.get(), newWeights.info().shape().rows(), blocks.columns()))
        : Optional.empty();
    newSketch = sketched ? sketch(changeSketch) : null;
    oldSketch = oldWeights.isPresent() ? sketch(changeSketch) : null;
    boolean ofValues = changeSketch.map(ChangeSketch::needsValues).orElse(true);
    changeAsWeights = delta.isPresent() && recorded.isPresent() && ofValues ? Optional.of(sketch(Optional.empty())) : Optional.empty();
    sums.elements = elements;
    sums.hasUpdate = compared > 0;
    sums.estimated = recorded.isPresent();
    sums.hasChange = delta.isPresent();
    for (long first = 0; first < elements; first += blocks.step()) {
      if (cancelled.getAsBoolean()) {
        throw new CancellationException("cancelled");
      }
      int count = (int) Math.min(blocks.step(), elements - first);
      long nonFinite = fresh.read(newWeights, first, count);
      int common = (int) Math.max(0, Math.min(count, compared - first));
      long oldNonFinite = oldWeights.isPresent() && common > 0 ? old.read(oldWeights.get(), first, common) : 0;
      sums.nonFinite += nonFinite + oldNonFinite;
      if (changes != null) {
        changes.read(first, count, nonFinite == 0, common == count && oldNonFinite == 0);
      }
      addBlock(count, common);
      if (sketched) {
        addToSketches(first, common);
      }
    }
    runs.finish();
    if (sums.hasUpdate) {
      finish();
    }
    return sums;
  }

  private WeightSketch sketch(Optional<ChangeSketch> products) {
    return matrix ? WeightSketch.ofMatrix(blocks.columns(), products) : WeightSketch.ofVector();
  }

  private void addBlock(int count, int common) {
    int columns = blocks.columns();
    for (int at = 0; at < count; at += columns) {
      int row = at / columns;
      int length = Math.min(columns, count - at);
      double[] changes = delta.isPresent() ? change.rows()[row] : null;
      int both = oldWeights.isPresent() ? Math.max(0, Math.min(length, common - at)) : 0;
      if (both > 0) {
        boolean displaced = runs.addCompared(fresh.rows()[row], old.rows()[row], changes, both);
        if (matrix) {
          sums.displacedRows += displaced ? 1 : 0;
          sums.rows++;
          sums.hasRows = true;
        }
      }
      if (both < length) {
        runs.addNew(fresh.rows()[row], both, length);
        if (changes != null) {
          runs.addChange(changes, both, length);
        }
      }
    }
  }

  private void addToSketches(long first, int common) throws IOException {
    if (!matrix) {
      newSketch.addRun(first, fresh.rows()[0], common);
      if (oldWeights.isPresent()) {
        oldSketch.addRun(first, old.rows()[0], common);
      }
      changeAsWeights.ifPresent(sketch -> sketch.addRun(first, change.rows()[0], common));
      return;
    }
    int rows = common / blocks.columns();
    for (int from = 0; from < rows; from += ColumnSums.ROWS) {
      int to = Math.min(rows, from + ColumnSums.ROWS);
      long number = first / blocks.columns() + from;
      if (changeSketch.isPresent()) {
        changeSketch.get().add(number, change.rows(), from, to);
      }
      newSketch.addRows(number, fresh.rows(), from, to);
      if (changeAsWeights.isPresent()) {
        changeAsWeights.get().addRows(number, change.rows(), from, to);
      }
      if (oldWeights.isPresent()) {
        oldSketch.addRows(number, old.rows(), from, to);
      }
    }
  }

  private void finish() {
    if (recorded.isPresent()) {
      sums.comparedSquares = sums.newSquares;
    }
    TensorSketch now = newSketch.finish(Math.sqrt(sums.comparedSquares));
    TensorSketch before = recorded.orElseGet(() -> oldSketch.finish(Math.sqrt(sums.oldSquares)));
    ImmutableDoubleArray update = Sketches.difference(now.weights(), before.weights());
    if (recorded.isPresent()) {
      sums.oldSquares = before.norm() * before.norm();
      sums.updateSquares = Sketches.squares(update);
      // 2·θ·θ′ = ‖θ‖² + ‖θ′‖² − ‖U‖²: both norms are exact, so an error of the drift is the only one.
      sums.oldNew = (sums.oldSquares + sums.comparedSquares - sums.updateSquares) / 2;
      sums.metChangeSquares = sums.changeSquares;
      sums.changeUpdate = Sketches.dot(changeAsWeights(), update);
    }
    sums.spreadSquares = sums.updateSquares * Sketches.spread(update, newWeights.info().shape());
    if (delta.isEmpty()) {
      return;
    }
    sums.hasMeeting = true;
    sums.hasSigns = oldWeights.isPresent();
    sums.metUpdateSquares = sums.updateSquares;
    double factor = oldWeights.isPresent() ? 1 : Sketches.ratioOfChanges(before, now);
    if (changeSketch.isPresent() && Double.isFinite(factor)) {
      addProducts(now, before, factor);
    }
  }

  /** S·Δ·T; nothing of a tensor that is not changed. */
  private ImmutableDoubleArray changeAsWeights() {
    if (changeSketch.isPresent() && changeSketch.get() instanceof ProductSketch product) {
      return ImmutableDoubleArray.copyOf(product.weights());
    }
    return changeAsWeights.map(sketch -> sketch.finish(Math.sqrt(sums.changeSquares)).weights()).orElse(ImmutableDoubleArray.of());
  }

  private void addProducts(TensorSketch now, TensorSketch before, double factor) {
    int columns = blocks.columns();
    double rows = (double) compared / columns;
    sums.hasProducts = true;
    sums.inputOld = squares(before.input(), factor);
    sums.outputOld = squares(before.output(), factor);
    sums.inputUpdate = squaresOfDifference(now.input(), before.input(), factor);
    sums.outputUpdate = squaresOfDifference(now.output(), before.output(), factor);
    sums.inputUpdateByChance = sums.updateSquares * sums.metChangeSquares / columns;
    sums.inputOldByChance = sums.oldSquares * sums.metChangeSquares / columns;
    sums.outputUpdateByChance = sums.updateSquares * sums.metChangeSquares / rows;
    sums.outputOldByChance = sums.oldSquares * sums.metChangeSquares / rows;
  }

  private static double squares(ImmutableDoubleArray values, double factor) {
    return factor * factor * Sketches.squares(values);
  }

  private static double squaresOfDifference(
      ImmutableDoubleArray now, ImmutableDoubleArray before, double factor) {
    double sum = 0;
    for (int i = 0; i < now.length(); i++) {
      double difference = now.get(i) - factor * before.get(i);
      sum += difference * difference;
    }
    return sum;
  }

  /** Reads changes, and counts what rounding does to them. */
  private final class ChangeReader {
    private final Tensor base = oldWeights.orElse(null);
    private final ChangeBlock block;
    private final Elements results = blocks.elements();
    private final RoundingCount counter;

    ChangeReader() {
      String name = newWeights.info().name();
      this.block = RowEvaluator.isEvaluable(delta.get()) ? new ChangeBlock(name, delta.get(), change, blocks) : null;
      boolean counted = block != null && RoundingCount.counts(newWeights.info().dtype())
          && patched.filter(model -> !model.movesRows(name)).isPresent();
      this.counter = counted ? new RoundingCount(blocks.step()) : null;
    }

    /**
     * Reads the changes of a block whose weights were read.
     *
     * @param finite whether all new weights are finite
     * @param oldAtHand whether the block's old weights were read, and are all finite
     */
    void read(long first, int count, boolean finite, boolean oldAtHand) throws IOException {
      DType type = newWeights.info().dtype();
      if (block != null) {
        long infinite = block.read(first, count, oldAtHand ? base : null, old);
        Optional<Rounding> counted = counter != null && finite && infinite == 0
            ? counter.count(type, fresh.floats(), change.floats(), count)
            : Optional.empty();
        if (counted.isPresent()) {
          sums.rounding = sums.rounding.plus(counted.get());
        } else {
          round(first, results.buffer(type, count));
        }
        return;
      }
      // What depends on the new weights, or replaces them, is what it makes of them.
      boolean known = round(first, results.buffer(type, count));
      if (known) {
        results.decode(type, count);
      }
      for (int at = 0; at < count; at += blocks.columns()) {
        int row = at / blocks.columns();
        for (int i = 0; i < Math.min(blocks.columns(), count - at); i++) {
          change.rows()[row][i] = known ? results.rows()[row][i] - fresh.rows()[row][i] : 0;
        }
      }
    }

    private boolean round(long first, ByteBuffer merged) throws IOException {
      if (patched.isEmpty() || refusal != null) {
        return false;
      }
      try {
        Rounding counted = patched.get().readCounting(newWeights.info(), first * newWeights.info().dtype().bytes(), merged);
        sums.rounding = sums.rounding.plus(counted);
        return true;
      } catch (IncompatibleModelException e) {
        refusal = e.getMessage();
        return false;
      }
    }
  }
}
