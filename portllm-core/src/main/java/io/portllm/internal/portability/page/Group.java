package io.portllm.internal.portability.page;

import com.google.common.collect.ImmutableList;
import io.portllm.Rounding;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorReport.Change;
import io.portllm.portability.TensorReport.Meeting;
import io.portllm.portability.TensorReport.Update;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Function;
import java.util.stream.DoubleStream;

/** Tensors that share a place in a picture. Of one tensor, the figures are the report's own. */
record Group(List<TensorReport> tensors) {
  Group {
    tensors = ImmutableList.copyOf(tensors);
  }

  /** The least, middle and greatest of figures that cannot be taken together. */
  record Spread(double least, double median, double greatest) {}

  /** ‖Δ‖ / ‖θ′‖ of the tensors that the patch changes. */
  OptionalDouble patch() {
    List<TensorReport> changed = tensors.stream().filter(tensor -> tensor.change().isPresent()).toList();
    if (changed.size() == 1) {
      return OptionalDouble.of(changed.get(0).change().get().relative());
    }
    double change = 0;
    double weights = 0;
    for (TensorReport tensor : changed) {
      Change found = tensor.change().get();
      double norm = found.relative() > 0 ? found.norm() / found.relative() : tensor.update().map(Update::newNorm).orElse(0.0);
      change += found.norm() * found.norm();
      weights += norm * norm;
    }
    return changed.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(root(change, weights));
  }

  /** ‖U‖ / ‖θ‖ of the tensors of whose old weights something is known. */
  OptionalDouble drift() {
    List<Update> updates = tensors.stream().flatMap(tensor -> tensor.update().stream()).toList();
    if (updates.size() == 1) {
      return OptionalDouble.of(updates.get(0).drift());
    }
    double update = updates.stream().mapToDouble(found -> found.norm() * found.norm()).sum();
    double weights = updates.stream().mapToDouble(found -> found.oldNorm() * found.oldNorm()).sum();
    return updates.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(root(update, weights));
  }

  /** The cosine of the angle between Δ and U. */
  OptionalDouble cosine() {
    List<TensorReport> met = tensors.stream().filter(this::hasAll).toList();
    if (met.size() == 1) {
      return OptionalDouble.of(met.get(0).meeting().get().cosine());
    }
    double product = 0;
    double change = 0;
    double update = 0;
    for (TensorReport tensor : met) {
      double changed = tensor.change().get().norm();
      double updated = tensor.update().get().norm();
      product += tensor.meeting().get().cosine() * changed * updated;
      change += changed * changed;
      update += updated * updated;
    }
    double norms = Math.sqrt(change) * Math.sqrt(update);
    return met.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(norms == 0 ? 0 : product / norms);
  }

  /** The greater of the overlaps on inputs and outputs; of several tensors the median. */
  OptionalDouble overlap() {
    Spread spread = spread(meeting -> DoubleStream.of(
        meeting.inputOverlap().orElse(Double.NEGATIVE_INFINITY), meeting.outputOverlap().orElse(Double.NEGATIVE_INFINITY)).max());
    return spread == null ? OptionalDouble.empty() : OptionalDouble.of(spread.median());
  }

  /** The spread of a figure of how patch and update lie to each other; null if no tensor has it. */
  Spread spread(Function<Meeting, OptionalDouble> figure) {
    double[] sorted = known(figure).filter(Double::isFinite).sorted().toArray();
    int middle = sorted.length / 2;
    if (sorted.length == 0) {
      return null;
    }
    double median = sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    return new Spread(sorted[0], median, sorted[sorted.length - 1]);
  }

  /** What rounding does to the changed weights. */
  Rounding rounding() {
    return tensors.stream().flatMap(tensor -> tensor.change().stream()).map(Change::rounding).reduce(Rounding.NONE, Rounding::plus);
  }

  /** The part of the changed weights that rounding leaves as they were; none if none are changed. */
  OptionalDouble vanished() {
    Rounding rounding = rounding();
    return rounding.touched() == 0 ? OptionalDouble.empty() : OptionalDouble.of((double) rounding.vanished() / rounding.touched());
  }

  private boolean hasAll(TensorReport tensor) {
    return tensor.meeting().isPresent() && tensor.change().isPresent() && tensor.update().isPresent();
  }

  private DoubleStream known(Function<Meeting, OptionalDouble> figure) {
    return tensors.stream().flatMap(tensor -> tensor.meeting().stream()).map(figure).flatMapToDouble(OptionalDouble::stream);
  }

  private static double root(double part, double whole) {
    return part == 0 ? 0 : Math.sqrt(part / whole);
  }
}
