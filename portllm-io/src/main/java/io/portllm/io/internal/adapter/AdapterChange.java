package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableSortedMap;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Map;

/** A change that depends on the weights it is made to, and what of its adapter it was made of, from which it can be made again. */
public final class AdapterChange implements RowChange {
  private final RowChange formula;
  private final AdapterConfig config;
  private final String module;
  private final Shape weight;
  private final ImmutableSortedMap<String, Tensor> parts;

  /**
   * The change that {@code formula} computes.
   *
   * @param config the adapter's configuration
   * @param module the path of the module
   * @param weight the shape of the module's weight, which this changes or whose bias it changes
   * @param parts what the adapter stores for the module, by the end of the name
   */
  AdapterChange(RowChange formula, AdapterConfig config, String module, Shape weight, Map<String, Tensor> parts) {
    this.formula = formula;
    this.config = config;
    this.module = module;
    this.weight = weight;
    this.parts = ImmutableSortedMap.copyOf(parts);
  }

  /** The adapter's configuration, the same object for all changes of an adapter. */
  public AdapterConfig config() {
    return config;
  }

  /** The path of the module. */
  public String module() {
    return module;
  }

  /** The shape of the module's weight. */
  public Shape weight() {
    return weight;
  }

  /** What the adapter stores for the module, by the end of the name, such as {@code lora_A.weight}. */
  public Map<String, Tensor> parts() {
    return parts;
  }

  @Override
  public Shape shape() {
    return formula.shape();
  }

  @Override
  public long rowLength() {
    return formula.rowLength();
  }

  @Override
  public boolean dependsOnWeights() {
    return formula.dependsOnWeights();
  }

  @Override
  public List<Tensor> inputs() {
    return formula.inputs();
  }

  @Override
  public void compute(long fromRow, long toRow, Tensor weights, float[] target) throws IOException {
    formula.compute(fromRow, toRow, weights, target);
  }
}
