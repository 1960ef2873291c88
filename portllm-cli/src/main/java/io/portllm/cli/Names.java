package io.portllm.cli;

import io.portllm.Delta;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.internal.patch.Stacks;
import java.util.stream.Collectors;

/** Names from files and kinds of changes, made for the terminal. */
final class Names {
  private Names() {}

  /** The name, escaped and shortened. */
  static String plain(String name) {
    String quoted = io.portllm.internal.text.Names.quote(name);
    return quoted.substring(1, quoted.endsWith("'") ? quoted.length() - 1 : quoted.length());
  }

  /** The kind of a change, such as {@code low rank 8}. */
  static String kind(Delta delta) {
    if (delta instanceof Delta.LowRank product) {
      return "low rank " + product.rank() + QuantisedFactor.storedRight(product.a()).map(few -> " in " + kind(few)).orElse("");
    } else if (delta instanceof Delta.Dense || delta instanceof Delta.Difference) {
      return "dense";
    } else if (delta instanceof Delta.Rows rows) {
      return rows.indices().length() + " rows";
    } else if (delta instanceof Delta.Replacement) {
      return "replacement";
    } else if (delta instanceof Delta.RowReplacement rows) {
      return "replacement of " + rows.indices().length() + " rows";
    } else if (delta instanceof Delta.Quantised quantised) {
      return quantised.bits() == 1 ? "1 bit" : quantised.bits() + " bits";
    } else if (delta instanceof Delta.Sparse sparse) {
      String values = sparse.values() instanceof Delta.Quantised few ? " in " + kind(few) : "";
      return sparse.values().shape().elements() + " weights" + values;
    } else if (delta instanceof Delta.Computed) {
      return Stacks.stack(delta).map(stack -> Stacks.count(stack.shape()) + " products").orElse("computed");
    } else if (delta instanceof Delta.Exact) {
      return "exact";
    } else if (delta instanceof Delta.Unchanged) {
      return "unchanged";
    }
    return ((Delta.Sum) delta).terms().stream().map(term -> kind(term.delta()) + " * " + term.factor()).collect(Collectors.joining(" + "));
  }
}
