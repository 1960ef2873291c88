package io.portllm.internal.portability;

import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.RowEvaluator;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Sketches a base for a patch file. */
public final class BaseSketcher {
  private static final int BLOCK = 1 << 15;

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
    int columns = matrix ? (int) info.shape().columns() : 1;
    Optional<Delta> change = delta
        .filter(changed -> matrix && RowEvaluator.isEvaluable(changed) && changed.shape().columns() == info.shape().columns());
    Optional<ChangeSketch> changeSketch = change.map(changed -> new ChangeSketch(columns));
    Optional<DeltaValues> changes = change.map(changed -> new DeltaValues(info.name(), changed, new DeltaValues.Shared()));
    WeightSketch sketch = matrix ? WeightSketch.ofMatrix(columns, changeSketch) : WeightSketch.ofVector();
    int step = matrix ? Math.max(1, BLOCK / columns) * columns : BLOCK;
    Elements reader = new Elements(step);
    double[] values = new double[step];
    double[] changed = new double[changes.isPresent() ? step : 0];
    float[] floats = new float[changed.length];
    for (long first = 0; first < info.elements(); first += step) {
      int count = (int) Math.min(step, info.elements() - first);
      reader.read(weights, first, count, values);
      if (changes.isPresent()) {
        changes.get().readCounting(first, count, floats);
        for (int i = 0; i < count; i++) {
          changed[i] = floats[i];
        }
        Elements.clean(changed, count);
      }
      if (!matrix) {
        sketch.addRun(first, values, count);
        continue;
      }
      for (int at = 0; at < count; at += columns) {
        long row = first / columns + at / columns;
        if (changeSketch.isPresent()) {
          changeSketch.get().add(row, changed, at);
        }
        sketch.addRow(row, values, at);
      }
    }
    return sketch.finish();
  }
}
