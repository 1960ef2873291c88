package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.internal.gguf.layout.Layout;
import io.portllm.io.internal.gguf.layout.Link;
import io.portllm.io.internal.gguf.layout.Mapping;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The tensors of a GGUF file as those of a Hugging Face checkpoint, or as themselves where no mapping is known. */
final class Views {
  private final ModelVersion file;
  private final Map<String, Shape> shapes;
  private final Map<String, List<Stretch>> stretches = new LinkedHashMap<>();
  private final Optional<Layout> layout;

  Views(ModelVersion file, Mapping mapping) {
    this.file = file;
    if (mapping instanceof Layout known) {
      layout = Optional.of(known);
      shapes = known.sources();
      for (Link link : known.links()) {
        add(Stretch.of(link, file.find(link.gguf()).orElseThrow()));
      }
      stretches.values().forEach(parts -> parts.sort(Comparator.comparingLong(Stretch::sourceStart)));
    } else {
      layout = Optional.empty();
      shapes = new LinkedHashMap<>();
      for (TensorInfo tensor : file.tensors()) {
        shapes.put(tensor.name(), tensor.shape());
        add(Stretch.whole(tensor));
      }
    }
  }

  private void add(Stretch stretch) {
    stretches.computeIfAbsent(stretch.source(), name -> new ArrayList<>()).add(stretch);
  }

  /** The tensors, where nothing is known of the checkpoint. */
  List<Source> sources() {
    List<Source> sources = new ArrayList<>();
    shapes.forEach((name, shape) -> sources.add(new Source(new TensorInfo(name, type(stretches.get(name)), shape), stretches.get(name))));
    return sources;
  }

  /**
   * The tensors, where it is known of what checkpoint a patch was made: those that conversion only widened to F32 have its types, and those
   * that conversion may have cut have its number of rows.
   *
   * @param base the tensors of that checkpoint
   * @throws IOException if reading tensors of type F32 failed
   */
  List<Source> sources(Map<String, TensorInfo> base) throws IOException {
    List<Source> sources = new ArrayList<>();
    Widened widened = new Widened(file);
    for (Source source : sources()) {
      TensorInfo known = base.get(source.info().name());
      if (known == null) {
        sources.add(source);
        continue;
      }
      DType type = widened.from(source, known.dtype()) ? known.dtype() : source.info().dtype();
      sources.add(new Source(new TensorInfo(source.info().name(), type, shape(source.info(), known.shape())), source.stretches()));
    }
    return sources;
  }

  private Shape shape(TensorInfo tensor, Shape known) {
    boolean cut =
        layout.isPresent()
            && layout.get().cut().contains(tensor.name())
            && known.rank() > 0
            && known.rows() > tensor.shape().rows()
            && known.withRows(tensor.shape().rows()).equals(tensor.shape());
    return cut ? known : tensor.shape();
  }

  /** Every tensor of the file with the stretches of it, sorted; none if the conversion computes it. */
  Map<TensorInfo, List<Stretch>> byTensor() {
    Map<TensorInfo, List<Stretch>> byTensor = new LinkedHashMap<>();
    file.tensors().forEach(tensor -> byTensor.put(tensor, new ArrayList<>()));
    stretches.values().forEach(parts -> parts.forEach(stretch -> byTensor.get(stretch.gguf()).add(stretch)));
    byTensor.values().forEach(parts -> parts.sort(Comparator.comparingLong(Stretch::ggufStart)));
    return byTensor;
  }

  /** The type that holds the values of all stretches. */
  private static DType type(List<Stretch> stretches) {
    DType first = stretches.get(0).gguf().dtype();
    boolean same = stretches.stream().allMatch(stretch -> stretch.gguf().dtype() == first && stretch.shift() == 0);
    return same && !first.isQuantised() ? first : DType.F32;
  }
}
