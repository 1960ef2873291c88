package io.portllm.io.internal.gguf.lora;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.Equality;
import io.portllm.internal.text.Names;
import io.portllm.io.ExportOptions;
import io.portllm.io.internal.adapter.ExportedFactors;
import io.portllm.io.internal.gguf.NewGguf;
import io.portllm.io.internal.gguf.NewMetadata;
import io.portllm.io.internal.gguf.layout.Layout;
import io.portllm.io.internal.gguf.layout.Link;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.LongFunction;

/** A patch as a LoRA adapter in llama.cpp's format. */
public final class LoraExport implements NewGguf {
  /** Tensors whose rows llama.cpp looks up without regard to adapters. */
  private static final Set<String> LOOKED_UP = Set.of("position_embd.weight");

  private final Patch patch;
  private final ExportOptions options;
  private final AdaptedModel model;
  private final List<Mismatch> mismatches = new ArrayList<>();
  private final Map<String, Delta> products = new LinkedHashMap<>();
  private final Map<String, Tensor> factors = new LinkedHashMap<>();
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private float alpha;

  private LoraExport(Patch patch, ExportOptions options, AdaptedModel model) {
    this.patch = patch;
    this.options = options;
    this.model = model;
  }

  /**
   * What the adapter of {@code patch} holds. Factors of the embedding, those of sums of several products, and those of products stored in
   * the other orientation are held in memory; all else is read as it is written.
   *
   * @throws IncompatibleModelException if llama.cpp could not apply all of it, unless what it cannot apply is to be left out
   */
  public static LoraExport of(Patch patch, ExportOptions options) throws IOException {
    ModelVersion base = options.base().or(() -> patch.base().flatMap(PatchBase::model)).orElseThrow(() -> new IllegalStateException(
        "the patch " + Names.quote(patch.recipe())
            + " can be written as a GGUF adapter only with its base at hand, whose order of rows it needs"));
    LoraExport export = new LoraExport(patch, options, AdaptedModel.of(base));
    export.sort();
    export.assemble();
    export.report();
    export.factors.forEach((name, tensor) -> export.infos.put(name, new TensorInfo(name, tensor.info().dtype(), tensor.info().shape())));
    return export;
  }

  private void report() {
    if (!mismatches.isEmpty() && options.leftOut().isEmpty()) {
      throw new IncompatibleModelException("the patch " + Names.quote(patch.recipe()) + " cannot be written as a GGUF adapter", mismatches);
    }
    options.leftOut().ifPresent(mismatches::forEach);
    if (factors.isEmpty()) {
      throw new IllegalStateException(
          "the patch " + Names.quote(patch.recipe()) + " has no low-rank change for an adapter; extract it by rank first");
    }
  }

  private void sort() throws IOException {
    Layout layout = model.layout();
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      String name = entry.getKey();
      Shape shape = layout.sources().get(name);
      Delta delta = ExportedFactors.withoutZeros(entry.getValue());
      if (delta instanceof Delta.Unchanged same) {
        Equality.require(name, same, 0, same.base().info().bytes(), new DirectBuffers(1 << 20));
      } else if (shape == null) {
        refuse(name, layout.ignores(name) ? "has no place in a GGUF file" : "is not in the model " + Names.quote(model.name()));
      } else if (ExportedFactors.products(delta).isEmpty()) {
        refuse(name, "is no product of low-rank factors, and llama.cpp adds nothing else");
      } else if (!delta.shape().equals(shape) && !(layout.cut().contains(name) && delta.shape().withRows(shape.rows()).equals(shape))) {
        refuse(name, "changes a tensor of shape " + delta.shape() + ", which is " + shape + " in the model");
      } else {
        products.put(name, delta);
      }
    }
  }

  private void refuse(String name, String why) {
    mismatches.add(Mismatch.of(name, why));
  }

  private void assemble() throws IOException {
    Map<String, List<Link>> links = new LinkedHashMap<>();
    model.layout().links().forEach(link -> links.computeIfAbsent(link.gguf(), name -> new ArrayList<>()).add(link));
    Map<String, List<Part>> parts = new LinkedHashMap<>();
    for (Map.Entry<String, List<Link>> tensor : links.entrySet()) {
      List<Part> found = new ArrayList<>();
      for (Link link : tensor.getValue()) {
        Delta delta = products.get(link.source());
        Optional<String> problem = delta == null ? Optional.empty() : problem(link);
        if (problem.isPresent()) {
          refuse(link.source(), problem.get());
        } else if (delta != null) {
          boolean embedding = link.gguf().equals(LoraFile.EMBEDDING);
          found.add(new Part(link, ExportedFactors.of(link.source(), delta, link.transposed() || embedding)));
        }
      }
      if (!found.isEmpty()) {
        parts.put(tensor.getKey(), found);
      }
    }
    alpha = parts.values().stream().flatMap(List::stream).map(part -> (float) part.factors.alpha())
        .filter(value -> value != 0 && Float.isFinite(value)).findFirst().orElse(1f);
    for (Map.Entry<String, List<Part>> entry : parts.entrySet()) {
      add(entry.getKey(), entry.getValue());
    }
  }

  private Optional<String> problem(Link link) {
    Shape shape = model.layout().tensors().get(link.gguf());
    if (shape.rank() != 2 && shape.rank() != 3 || link.gguf().endsWith("_norm.weight") || !link.gguf().endsWith(".weight")) {
      return Optional.of("is no matrix, and llama.cpp adds to nothing else");
    }
    if (LOOKED_UP.contains(link.gguf())) {
      return Optional.of("is looked up, where llama.cpp adds nothing");
    }
    if (link.gguf().equals(LoraFile.EMBEDDING) && !model.layout().tensors().containsKey("output.weight")) {
      return Optional.of("is embedding and head in one, where llama.cpp cannot apply the factors of either");
    }
    return Optional.empty();
  }

  private void add(String name, List<Part> parts) throws IOException {
    Shape weight = model.layout().tensors().get(name);
    int rank = parts.stream().mapToInt(part -> part.factors.rank()).max().orElseThrow();
    if (name.equals(LoraFile.EMBEDDING)) {
      ExportedFactors only = parts.get(0).factors;
      float scale = scale(only, rank);
      Tensor turned = FactorRows.transposed(only.a());
      put(name + LoraFile.A, Shape.of(weight.rows(), rank), row -> new FloatRows.Row(turned, row, 1));
      put(name + LoraFile.B, only.b().info().shape(), row -> new FloatRows.Row(only.b(), row, scale));
      return;
    }
    long rowsOfOne = weight.dimension(weight.rank() - 2);
    long columns = weight.dimension(weight.rank() - 1);
    long matrices = weight.rank() == 3 ? weight.dimension(0) : 1;
    // The runs of a tensor's rows lie in the order of its links.
    Part[] partOfMatrix = new Part[Math.toIntExact(matrices)];
    for (Part part : parts) {
      int matrix = (int) (part.link.ggufRow() / rowsOfOne);
      if (partOfMatrix[matrix] != null && !partOfMatrix[matrix].link.source().equals(part.link.source())) {
        throw new IllegalStateException("matrix " + matrix + " of " + Names.quote(name) + " is made of several tensors");
      }
      partOfMatrix[matrix] = part;
    }
    Shape a = matrices == 1 && weight.rank() == 2 ? Shape.of(rank, columns) : Shape.of(matrices, rank, columns);
    put(name + LoraFile.A, a, row -> {
      Part part = partOfMatrix[(int) (row / rank)];
      return part == null || row % rank >= part.factors.rank() ? FloatRows.ZEROS : new FloatRows.Row(part.factors.a(), row % rank, 1);
    });
    long[] starts = parts.stream().mapToLong(part -> part.link.ggufRow()).toArray();
    float[] scales = new float[starts.length];
    for (int i = 0; i < scales.length; i++) {
      scales[i] = scale(parts.get(i).factors, rank);
    }
    long[] b = weight.toArray();
    b[b.length - 1] = rank;
    put(name + LoraFile.B, Shape.of(b), row -> {
      int found = Arrays.binarySearch(starts, row);
      int index = found < 0 ? -found - 2 : found;
      return index < 0 || row >= starts[index] + parts.get(index).link.rows() ? FloatRows.ZEROS : parts.get(index).row(row, scales[index]);
    });
  }

  /** What B is multiplied by, where the file's alpha over {@code rank} is not the scale. */
  private float scale(ExportedFactors of, int rank) {
    return of.rank() == rank && of.alpha() == alpha ? 1 : (float) (of.scale() * rank / alpha);
  }

  private void put(String name, Shape shape, LongFunction<FloatRows.Row> rows) {
    factors.put(name, FloatRows.of(name, shape, rows));
  }

  /** The factors of a run of rows. */
  private record Part(Link link, ExportedFactors factors) {
    /** The row of B that belongs to a row of the GGUF tensor. */
    FloatRows.Row row(long ggufRow, float scale) {
      long row = ggufRow - link.ggufRow();
      return new FloatRows.Row(factors.b(), link.transposed() ? row : link.sourceRow() + link.order().sourceOf(row), scale);
    }
  }

  @Override
  public NewMetadata metadata() {
    return new NewMetadata()
        .with("general.architecture", model.architecture())
        .with(LoraFile.TYPE, "adapter")
        .with(LoraFile.KIND, "lora")
        .with("general.name", patch.recipe())
        .with("general.base_model.count", 1L)
        .with("general.base_model.0.name", options.baseName().orElse(Names.last(model.name())))
        .with(LoraFile.ALPHA, alpha)
        .with("general.quantization_version", 2L);
  }

  @Override
  public String name() {
    return patch.recipe();
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("adapter.gguf", Map.of(), tensors()));
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(infos.values());
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(infos.get(name));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    factors.get(tensor.name()).read(offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    Set<ModelVersion> versions = new HashSet<>();
    for (Delta delta : products.values()) {
      for (Delta.LowRank product : ExportedFactors.products(delta).orElseThrow()) {
        versions.add(product.b().version());
        versions.add(product.a().version());
      }
    }
    for (ModelVersion version : versions) {
      version.verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
