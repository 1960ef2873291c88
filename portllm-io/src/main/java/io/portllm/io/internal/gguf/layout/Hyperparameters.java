package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * What the order of rows depends on, beside the shapes of the tensors.
 *
 * @param architecture as GGUF names it ({@code general.architecture})
 * @param heads the number of attention heads: one for all layers, or one for each; empty where it is not known
 * @param keyValueHeads the number of heads of keys and values: one for all layers, or one for each; empty where it is not known
 */
public record Hyperparameters(String architecture, List<Long> heads, List<Long> keyValueHeads) {
  public Hyperparameters {
    heads = ImmutableList.copyOf(heads);
    keyValueHeads = ImmutableList.copyOf(keyValueHeads);
  }

  /** The attention heads of a layer. */
  long heads(int layer) throws NoLayoutException {
    return count("attention heads", heads, layer);
  }

  /** The heads of keys and values of a layer. */
  long keyValueHeads(int layer) throws NoLayoutException {
    return count("heads of keys", keyValueHeads, layer);
  }

  private static long count(String what, List<Long> counts, int layer) throws NoLayoutException {
    if (counts.isEmpty() || counts.size() > 1 && layer >= counts.size()) {
      throw new NoLayoutException("does not tell the number of " + what + " of layer " + layer);
    }
    long count = counts.get(counts.size() == 1 ? 0 : layer);
    if (count < 1) {
      throw new NoLayoutException("has " + count + " " + what + " in layer " + layer);
    }
    return count;
  }
}
