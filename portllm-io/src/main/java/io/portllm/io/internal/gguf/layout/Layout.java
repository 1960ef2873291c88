package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import io.portllm.Shape;
import io.portllm.internal.patch.Glob;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The tensors of a GGUF file as those of the Hugging Face checkpoint that it was converted from.
 *
 * @param links which rows are which; every row of every tensor in {@code sources} and every row of every GGUF tensor that is not in
 *     {@code generated} is in exactly one
 * @param tensors the GGUF tensors with their shapes
 * @param sources the Hugging Face tensors with their shapes, in the order of the GGUF file
 * @param generated the GGUF tensors that the conversion computes from the configuration, such as {@code rope_freqs.weight}
 * @param cut the Hugging Face tensors that may have more rows in the checkpoint: the conversion keeps the first, as many as there are
 *     tokens. {@code sources} has the shape that was kept
 * @param ignored globs of the names of Hugging Face tensors that the conversion leaves out
 */
public record Layout(
    List<Link> links, Map<String, Shape> tensors, Map<String, Shape> sources, Set<String> generated, Set<String> cut, List<String> ignored)
    implements Mapping {
  public Layout {
    links = ImmutableList.copyOf(links);
    tensors = ImmutableMap.copyOf(tensors);
    sources = ImmutableMap.copyOf(sources);
    generated = ImmutableSet.copyOf(generated);
    cut = ImmutableSet.copyOf(cut);
    ignored = ImmutableList.copyOf(ignored);
  }

  /** The layout of a file whose tensors keep their own names and order, as one of an architecture that is not mapped does. */
  public static Layout asItIs(Map<String, Shape> tensors) {
    List<Link> links = tensors.entrySet().stream()
        .map(tensor -> new Link(tensor.getKey(), 0, tensor.getKey(), 0, Target.rows(tensor.getValue()), RowOrder.SAME, false, 0))
        .toList();
    return new Layout(links, tensors, tensors, Set.of(), Set.of(), List.of());
  }

  /** Whether the conversion leaves out the Hugging Face tensor of this name, if the checkpoint has one. */
  public boolean ignores(String name) {
    return !sources.containsKey(name) && ignored.stream().anyMatch(glob -> Glob.matches(glob, name));
  }
}
