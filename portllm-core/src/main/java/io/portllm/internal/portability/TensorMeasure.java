package io.portllm.internal.portability;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;

/**
 * Measures one tensor in one pass over its weights, those of the old base if they are at hand, and its change. Holds blocks of
 * {@value #BLOCK} elements or one row, and of a matrix that is changed three sketches of up to 32 rows.
 */
final class TensorMeasure {
  /** Elements read at a time, unless a row is longer. */
  private static final int BLOCK = 1 << 15;

  /** Rows with a lesser cosine count as displaced. */
  private static final double DISPLACED = 0.3;

  private final Tensor newWeights;
  private final Optional<Tensor> oldWeights;
  private final Optional<TensorSketch> recorded;
  private final Optional<Delta> delta;
  private final Optional<PatchedModel> patched;
  private final BooleanSupplier cancelled;
  private final boolean matrix;
  private final int columns;
  private final long compared;
  private final Sums sums = new Sums();

  private double[] fresh;
  private double[] old;
  private double[] change;
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
    this.columns = matrix ? (int) shape.columns() : 1;
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
    int step = matrix ? Math.max(1, BLOCK / columns) * columns : (int) Math.min(BLOCK, Math.max(1, elements));
    fresh = new double[step];
    old = new double[oldWeights.isPresent() ? step : 0];
    change = new double[delta.isPresent() ? step : 0];
    Elements reader = new Elements(step);
    ChangeReader changes = delta.isPresent() ? new ChangeReader(step) : null;
    boolean sketched = oldWeights.isPresent() || recorded.isPresent();
    changeSketch = matrix && delta.isPresent() && sketched ? Optional.of(new ChangeSketch(columns)) : Optional.empty();
    newSketch = sketch(changeSketch);
    oldSketch = sketch(changeSketch);
    changeAsWeights = delta.isPresent() && recorded.isPresent() ? Optional.of(sketch(Optional.empty())) : Optional.empty();
    sums.elements = elements;
    sums.hasUpdate = compared > 0;
    sums.estimated = recorded.isPresent();
    sums.hasChange = delta.isPresent();
    for (long first = 0; first < elements; first += step) {
      if (cancelled.getAsBoolean()) {
        throw new CancellationException("cancelled");
      }
      int count = (int) Math.min(step, elements - first);
      sums.nonFinite += reader.read(newWeights, first, count, fresh);
      int common = (int) Math.max(0, Math.min(count, compared - first));
      if (oldWeights.isPresent() && common > 0) {
        sums.nonFinite += reader.read(oldWeights.get(), first, common, old);
      }
      if (changes != null) {
        changes.read(first, count);
      }
      addBlock(count, common);
      if (sketched) {
        addToSketches(first, common);
      }
    }
    if (sums.hasUpdate) {
      finish();
    }
    return sums;
  }

  private WeightSketch sketch(Optional<ChangeSketch> products) {
    return matrix ? WeightSketch.ofMatrix(columns, products) : WeightSketch.ofVector();
  }

  private void addBlock(int count, int common) {
    double newSquares = 0;
    double comparedSquares = 0;
    for (int i = 0; i < count; i++) {
      double square = fresh[i] * fresh[i];
      newSquares += square;
      comparedSquares += i < common ? square : 0;
    }
    sums.newSquares += newSquares;
    sums.comparedSquares += comparedSquares;
    if (delta.isPresent()) {
      double squares = 0;
      for (int i = 0; i < count; i++) {
        squares += change[i] * change[i];
      }
      sums.changeSquares += squares;
    }
    if (oldWeights.isPresent()) {
      addUpdate(common);
      if (delta.isPresent()) {
        addMeeting(common);
      }
      if (matrix) {
        countDisplaced(common / columns);
      }
    }
  }

  private void addUpdate(int common) {
    double oldSquares = 0;
    double products = 0;
    double updateSquares = 0;
    for (int i = 0; i < common; i++) {
      double update = fresh[i] - old[i];
      oldSquares += old[i] * old[i];
      products += old[i] * fresh[i];
      updateSquares += update * update;
    }
    sums.oldSquares += oldSquares;
    sums.oldNew += products;
    sums.updateSquares += updateSquares;
  }

  /** Without branches on signs, which are as good as random. */
  private void addMeeting(int common) {
    double products = 0;
    double magnitude = 0;
    double conflictMagnitude = 0;
    double changeSquares = 0;
    int both = 0;
    int conflicts = 0;
    for (int i = 0; i < common; i++) {
      double product = change[i] * (fresh[i] - old[i]);
      double size = Math.abs(change[i]);
      changeSquares += size * size;
      products += product;
      int moved = product != 0 ? 1 : 0;
      int against = (int) (Double.doubleToRawLongBits(product) >>> 63) & moved;
      both += moved;
      conflicts += against;
      magnitude += moved * size;
      conflictMagnitude += against * size;
    }
    sums.changeUpdate += products;
    sums.movedByBoth += both;
    sums.conflicts += conflicts;
    sums.magnitude += magnitude;
    sums.conflictMagnitude += conflictMagnitude;
    sums.metChangeSquares += changeSquares;
  }

  private void countDisplaced(int rows) {
    for (int row = 0; row < rows; row++) {
      double oldSquares = 0;
      double newSquares = 0;
      double products = 0;
      for (int i = row * columns; i < (row + 1) * columns; i++) {
        oldSquares += old[i] * old[i];
        newSquares += fresh[i] * fresh[i];
        products += old[i] * fresh[i];
      }
      sums.displacedRows += products < DISPLACED * Math.sqrt(oldSquares) * Math.sqrt(newSquares) ? 1 : 0;
    }
    sums.rows += rows;
    sums.hasRows = true;
  }

  private void addToSketches(long first, int common) {
    if (!matrix) {
      newSketch.addRun(first, fresh, common);
      if (oldWeights.isPresent()) {
        oldSketch.addRun(first, old, common);
      }
      changeAsWeights.ifPresent(sketch -> sketch.addRun(first, change, common));
      return;
    }
    for (int at = 0; at < common; at += columns) {
      long row = first / columns + at / columns;
      if (changeSketch.isPresent()) {
        changeSketch.get().add(row, change, at);
      }
      newSketch.addRow(row, fresh, at);
      if (changeAsWeights.isPresent()) {
        changeAsWeights.get().addRow(row, change, at);
      }
      if (oldWeights.isPresent()) {
        oldSketch.addRow(row, old, at);
      }
    }
  }

  private void finish() {
    TensorSketch now = newSketch.finish();
    TensorSketch before = recorded.orElseGet(oldSketch::finish);
    ImmutableDoubleArray update = Sketches.difference(now.weights(), before.weights());
    if (recorded.isPresent()) {
      sums.oldSquares = before.norm() * before.norm();
      sums.updateSquares = Sketches.squares(update);
      // 2·θ·θ′ = ‖θ‖² + ‖θ′‖² − ‖U‖²: both norms are exact, so an error of the drift is the only one.
      sums.oldNew = (sums.oldSquares + sums.comparedSquares - sums.updateSquares) / 2;
      sums.metChangeSquares = sums.changeSquares;
      changeAsWeights.ifPresent(sketch -> sums.changeUpdate = Sketches.dot(sketch.finish().weights(), update));
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

  private void addProducts(TensorSketch now, TensorSketch before, double factor) {
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
    private final boolean evaluable;
    private final DeltaValues values;
    private final float[] floats;
    private final Elements results;

    ChangeReader(int step) {
      this.evaluable = RowEvaluator.isEvaluable(delta.get());
      this.values = evaluable ? new DeltaValues(newWeights.info().name(), delta.get(), new DeltaValues.Shared()) : null;
      this.floats = new float[evaluable ? step : 0];
      this.results = new Elements(step);
    }

    void read(long first, int count) throws IOException {
      if (evaluable) {
        values.readCounting(first, count, floats);
        for (int i = 0; i < count; i++) {
          change[i] = floats[i];
        }
        Elements.clean(change, count);
      }
      ByteBuffer merged = results.buffer(newWeights.info().dtype(), count);
      boolean known = round(first, merged);
      if (!evaluable) {
        // What depends on the new weights, or replaces them, is what it makes of them.
        if (known) {
          results.decode(newWeights.info().dtype(), merged, count, change);
        }
        for (int i = 0; i < count; i++) {
          change[i] = known ? change[i] - fresh[i] : 0;
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
