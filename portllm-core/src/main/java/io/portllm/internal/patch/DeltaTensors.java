package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.Tensor;
import java.util.List;
import java.util.stream.Stream;

/** The tensors that a change reads. */
public final class DeltaTensors {
  private DeltaTensors() {}

  /** Every tensor that evaluating {@code delta} reads. */
  public static List<Tensor> of(Delta delta) {
    if (delta instanceof Delta.Dense dense) {
      return List.of(dense.values());
    } else if (delta instanceof Delta.Difference difference) {
      return List.of(difference.tuned(), difference.base());
    } else if (delta instanceof Delta.LowRank product) {
      return List.of(product.b(), product.a());
    } else if (delta instanceof Delta.Rows rows) {
      return rows.base().map(base -> List.of(rows.values(), base)).orElse(List.of(rows.values()));
    } else if (delta instanceof Delta.Quantised quantised) {
      return List.of(quantised.codes(), quantised.scales());
    } else if (delta instanceof Delta.Sparse sparse) {
      return ImmutableList.<Tensor>builder().add(sparse.positions(), sparse.offsets()).addAll(of(sparse.values())).build();
    } else if (delta instanceof Delta.Computed computed) {
      return ImmutableList.<Tensor>builder().addAll(computed.change().inputs()).addAll(computed.frozenOn().stream().iterator()).build();
    } else if (delta instanceof Delta.Replacement replacement) {
      return List.of(replacement.values());
    } else if (delta instanceof Delta.RowReplacement rows) {
      return List.of(rows.values());
    } else if (delta instanceof Delta.Exact exact) {
      return exact.change().inputs();
    } else if (delta instanceof Delta.Unchanged same) {
      return List.of(same.tuned(), same.base());
    }
    return ((Delta.Sum) delta).terms().stream().flatMap(term -> stream(term.delta())).toList();
  }

  private static Stream<Tensor> stream(Delta delta) {
    return of(delta).stream();
  }
}
