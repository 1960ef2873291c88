package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A kind of adapter: the tensors that it stores for a module, and the change of weights that they mean. A new kind is a class that implements
 * this, and a line in {@link AdapterKinds}.
 *
 * <p>Stateless. Weights saved whole, biases and token rows, which most kinds may have too, are no part of it.
 */
public interface AdapterKind {
  /** The ends of the names of its tensors, after {@code base_model.model.<module>.}, such as {@code hada_w1_a}. */
  List<String> parts();

  /** Those of {@link #parts} that hold whole numbers. */
  default List<String> indices() {
    return List.of();
  }

  /** The names of tensors that all modules share, after {@code base_model.}, such as {@code vera_A}. */
  default List<String> shared() {
    return List.of();
  }

  /**
   * Why {@link #deltas} cannot do without the base, as the end of a sentence about a tensor, such as {@code "is changed by an amount that …"}. If
   * there is such a reason, {@link #deltas} is called with a base that has a weight for each module, of an arithmetic type, and else it may be
   * called without.
   */
  default Optional<String> needsBase(AdapterTensors tensors) throws IOException {
    return Optional.empty();
  }

  /**
   * The change of each weight, by the weight's name.
   *
   * <p>{@link Delta.Replacement} stands for a weight saved whole, which counts as its difference from the base's where the base is at hand.
   *
   * @throws MalformedModelException if the tensors contradict each other or the configuration; also when the adapter is opened, unless the base is
   *     needed
   * @throws IncompatibleModelException if they contradict the base
   */
  Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException;
}
