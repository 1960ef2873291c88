package io.portllm.internal.portability;

import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Sketches a base for a patch file. */
public final class BaseSketcher {
  private BaseSketcher() {}

  /** The settings of a base that a patch file keeps. */
  public static Map<String, String> settings(ModelVersion base) {
    return Structure.settings(base.config());
  }

  /** Whether tensors like this are sketched. */
  public static boolean isSketched(TensorInfo tensor) {
    return tensor.dtype().isArithmetic() && tensor.elements() > 0;
  }

  /**
   * The sketch of one tensor, of which all is read, and of its products with what the patch does to it.
   *
   * @param delta the change; products are left out where it cannot be computed without the weights of a new base
   */
  public static TensorSketch sketch(Tensor weights, Optional<Delta> delta) throws IOException {
    TensorInfo info = weights.info();
    boolean matrix = Sketches.isMatrix(info.shape());
    Blocks blocks = Blocks.of(info.shape());
    int columns = blocks.columns();
    Optional<Delta> changed = delta
        .filter(change -> matrix && RowEvaluator.isEvaluable(change) && change.shape().columns() == info.shape().columns());
    Optional<ChangeSketch> changeSketch = changed.isPresent()
        ? Optional.of(ChangeSketch.of(changed.get(), info.shape().rows(), columns))
        : Optional.empty();
    Elements values = blocks.elements();
    Elements change = blocks.elements();
    Optional<ChangeBlock> changes = changed
        .filter(known -> changeSketch.get().needsValues())
        .map(known -> new ChangeBlock(info.name(), known, change, blocks));
    WeightSketch sketch = matrix ? WeightSketch.ofMatrix(columns, changeSketch) : WeightSketch.ofVector();
    Sums sums = new Sums();
    RunSums runs = new RunSums(sums);
    for (long first = 0; first < info.elements(); first += blocks.step()) {
      int count = (int) Math.min(blocks.step(), info.elements() - first);
      long nonFinite = values.read(weights, first, count);
      if (changes.isPresent()) {
        changes.get().read(first, count, nonFinite == 0 ? weights : null, values);
      }
      for (int at = 0; at < count; at += columns) {
        runs.addNew(values.rows()[at / columns], 0, Math.min(columns, count - at));
      }
      if (!matrix) {
        sketch.addRun(first, values.rows()[0], count);
        continue;
      }
      int rows = count / columns;
      for (int from = 0; from < rows; from += ColumnSums.ROWS) {
        int to = Math.min(rows, from + ColumnSums.ROWS);
        long number = first / columns + from;
        if (changeSketch.isPresent()) {
          changeSketch.get().add(number, change.rows(), from, to);
        }
        sketch.addRows(number, values.rows(), from, to);
      }
    }
    return sketch.finish(Math.sqrt(sums.newSquares));
  }
}
