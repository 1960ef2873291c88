package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Collects links, and checks that together they cover every tensor. */
final class LayoutBuilder {
  private final List<Link> links = new ArrayList<>();
  private final Map<String, Shape> sources = new LinkedHashMap<>();
  private final Map<String, Long> sourceRows = new HashMap<>();
  private final Map<String, Long> targetRows = new HashMap<>();

  /** Adds a run of rows, of a Hugging Face tensor of this shape. */
  void rows(Target target, long ggufRow, String source, Shape shape, long sourceRow, long rows, RowOrder order, float shift)
      throws NoLayoutException {
    add(new Link(target.name(), ggufRow, source, sourceRow, rows, order, false, shift), shape, rows);
  }

  /** Adds all of a Hugging Face tensor of this shape, transposed. */
  void transposed(Target target, long ggufRow, String source, Shape shape) throws NoLayoutException {
    long columns = shape.rank() == 1 ? 1 : shape.dimension(1);
    add(new Link(target.name(), ggufRow, source, 0, columns, RowOrder.SAME, true, 0), shape, Target.rows(shape));
  }

  private void add(Link link, Shape shape, long rowsOfSource) throws NoLayoutException {
    Shape known = sources.putIfAbsent(link.source(), shape);
    if (known != null && !known.equals(shape)) {
      throw new NoLayoutException(
          "has tensor " + Names.quote(link.gguf()) + ", whose shape needs " + shape + " of " + Names.quote(link.source())
              + ", but another tensor needs " + known);
    }
    links.add(link);
    sourceRows.merge(link.source(), rowsOfSource, Math::addExact);
    targetRows.merge(link.gguf(), link.rows(), Math::addExact);
  }

  /** The layout, if every row is in one link. Runs do not overlap, so counting is enough. */
  Layout build(Map<String, Shape> tensors, Set<String> generated, Set<String> cut, List<String> ignored) throws NoLayoutException {
    for (Map.Entry<String, Shape> source : sources.entrySet()) {
      if (sourceRows.get(source.getKey()) != Target.rows(source.getValue())) {
        throw new NoLayoutException("has " + sourceRows.get(source.getKey()) + " of the " + Target.rows(source.getValue()) + " rows of "
            + Names.quote(source.getKey()));
      }
    }
    for (Map.Entry<String, Shape> tensor : tensors.entrySet()) {
      if (!generated.contains(tensor.getKey()) && targetRows.getOrDefault(tensor.getKey(), 0L) != Target.rows(tensor.getValue())) {
        throw new NoLayoutException("has rows of " + Names.quote(tensor.getKey()) + " that no Hugging Face tensor has");
      }
    }
    return new Layout(links, tensors, sources, generated, cut, ignored);
  }
}
