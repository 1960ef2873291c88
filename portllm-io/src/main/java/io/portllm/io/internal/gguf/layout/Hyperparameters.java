package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * What the order of rows depends on, beside the shapes of the tensors.
 *
 * @param architecture as GGUF names it ({@code general.architecture})
 * @param heads the number of attention heads: one for all layers, or one for each
 * @param keyValueHeads the number of heads of keys and values: one for all layers, or one for each
 */
public record Hyperparameters(String architecture, List<Long> heads, List<Long> keyValueHeads) {
  public Hyperparameters {
    heads = ImmutableList.copyOf(heads);
    keyValueHeads = ImmutableList.copyOf(keyValueHeads);
  }
}
