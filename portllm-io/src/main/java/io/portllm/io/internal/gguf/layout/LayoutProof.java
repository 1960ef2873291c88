package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.run.Parallel;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * A layout proven by the checkpoint that a GGUF file was converted from: every weight is where the layout says, within what its type loses.
 *
 * @param tensors what was compared, in the layout's order
 * @param mismatches every way in which the two differ; none if the layout is proven
 */
public record LayoutProof(List<Compared> tensors, List<Mismatch> mismatches) {
  /**
   * A tensor whose weights were compared.
   *
   * @param name in the checkpoint
   * @param error the largest error of a row, as a part of the row's norm; infinite if a weight is NaN on one side alone
   * @param bound what the type that it is stored in allows
   */
  public record Compared(String name, double error, double bound) {
    /** Whether the weights are the same ones. */
    public boolean holds() {
      return error <= bound;
    }
  }

  public LayoutProof {
    tensors = ImmutableList.copyOf(tensors);
    mismatches = ImmutableList.copyOf(mismatches);
  }

  /** Whether the layout is right. */
  public boolean holds() {
    return mismatches.isEmpty();
  }

  /** The tensor with the largest error beside what is allowed. */
  public Optional<Compared> worst() {
    return tensors.stream().max((a, b) -> Double.compare(a.error / a.bound, b.error / b.bound));
  }

  /**
   * Compares all weights. Holds two buffers of 512 KiB for each thread.
   *
   * @param checkpoint the Hugging Face model
   * @param stored the GGUF file
   * @param decoded its tensors as {@code layout} has them, with its values
   * @param threads how many
   */
  public static LayoutProof of(Layout layout, ModelVersion checkpoint, ModelVersion stored, ModelVersion decoded, int threads)
      throws IOException {
    List<Mismatch> mismatches = new ArrayList<>();
    for (TensorInfo tensor : checkpoint.tensors()) {
      if (!layout.sources().containsKey(tensor.name()) && !layout.ignores(tensor.name())) {
        mismatches.add(Mismatch.of(tensor.name(), "the GGUF file " + Names.quote(stored.name()) + " does not have it"));
      }
    }
    Map<String, ErrorBound> bounds = new HashMap<>();
    for (Link link : layout.links()) {
      ErrorBound bound = ErrorBound.of(stored.find(link.gguf()).orElseThrow().dtype(), link.shift());
      bounds.merge(link.source(), bound, ErrorBound::or);
    }
    List<RowErrors> comparisons = new ArrayList<>();
    for (Map.Entry<String, Shape> source : layout.sources().entrySet()) {
      String name = source.getKey();
      Tensor mine = decoded.tensor(name).orElseThrow();
      Optional<Tensor> theirs = checkpoint.tensor(name);
      Optional<String> wrong = misfit(layout, source.getValue(), theirs);
      if (wrong.isPresent()) {
        mismatches.add(Mismatch.of(name, wrong.get()));
      } else {
        comparisons.add(new RowErrors(name, theirs.get(), mine, bounds.get(name)));
      }
    }
    Parallel.run(threads, () -> false, comparisons);
    for (RowErrors comparison : comparisons) {
      if (!comparison.result().holds()) {
        mismatches.add(Mismatch.of(comparison.result().name(), String.format(Locale.ROOT,
            "the values in the GGUF file differ from the checkpoint's by %.3g of a row's norm, where its type allows %.3g",
            comparison.result().error(), comparison.result().bound())));
      }
    }
    return new LayoutProof(comparisons.stream().map(RowErrors::result).toList(), mismatches);
  }

  private static Optional<String> misfit(Layout layout, Shape shape, Optional<Tensor> tensor) {
    if (tensor.isEmpty()) {
      return Optional.of("the checkpoint does not have it");
    }
    TensorInfo info = tensor.get().info();
    boolean cut = layout.cut().contains(info.name()) && info.shape().rank() > 0 && info.shape().rows() > shape.rows();
    if (!(cut ? info.shape().withRows(shape.rows()) : info.shape()).equals(shape)) {
      return Optional.of("shape must be " + shape + " as in the GGUF file but is " + info.shape());
    }
    return info.dtype().isArithmetic() ? Optional.empty() : Optional.of("is of the type " + info.dtype() + ", which cannot be compared");
  }
}
