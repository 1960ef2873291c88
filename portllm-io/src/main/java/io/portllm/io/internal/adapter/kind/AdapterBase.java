package io.portllm.io.internal.adapter.kind;

import io.portllm.BasePolicy;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.util.Optional;

/**
 * The model that an adapter was trained on.
 *
 * @param model the model, if it is at hand
 * @param policy how changes that depend on weights are ported
 */
public record AdapterBase(Optional<ModelVersion> model, BasePolicy policy) {
  /** No base at hand. */
  public static AdapterBase none(BasePolicy policy) {
    return new AdapterBase(Optional.empty(), policy);
  }

  /** This base. */
  public static AdapterBase of(ModelVersion model, BasePolicy policy) {
    return new AdapterBase(Optional.of(model), policy);
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

  /** The shape of the base's tensor of this name if it has the same rows and columns as {@code computed}; else {@code computed}. */
  public Shape shapeOf(String name, Shape computed) {
    return tensor(name)
        .map(tensor -> tensor.info().shape())
        .filter(shape -> shape.rows() == computed.rows() && shape.columns() == computed.columns())
        .orElse(computed);
  }
}
