package io.portllm.io.internal.adapter.kind;

import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.util.Optional;

/**
 * The model that an adapter was trained on.
 *
 * @param model the model, if it is at hand
 */
public record AdapterBase(Optional<ModelVersion> model) {
  /** No base at hand. */
  public static AdapterBase none() {
    return new AdapterBase(Optional.empty());
  }

  /** This base. */
  public static AdapterBase of(ModelVersion model) {
    return new AdapterBase(Optional.of(model));
  }

  /** The base's tensor of this name, if the base is at hand and has it. */
  public Optional<Tensor> tensor(String name) {
    return model.flatMap(base -> base.tensor(name));
  }

  /**
   * The shape of the base's tensor of this name.
   *
   * @throws IllegalStateException if there is none
   */
  public Shape shape(String name) {
    return tensor(name).map(tensor -> tensor.info().shape()).orElseThrow(() -> new IllegalStateException("no base has " + name));
  }
}
