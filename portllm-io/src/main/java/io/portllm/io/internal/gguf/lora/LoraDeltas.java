package io.portllm.io.internal.gguf.lora;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.layout.Link;
import io.portllm.io.internal.gguf.layout.RowOrder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** The changes that an adapter makes to a model, by the names that patches use. */
public final class LoraDeltas {
  private final LoraFile file;
  private final AdaptedModel model;
  private final List<Mismatch> mismatches = new ArrayList<>();
  private final Map<String, List<Part>> parts = new LinkedHashMap<>();

  private LoraDeltas(LoraFile file, AdaptedModel model) {
    this.file = file;
    this.model = model;
  }

  /**
   * What an adapter adds to one tensor.
   *
   * @param b the rows of the link, in the order of the Hugging Face tensor, × rank
   * @param a rank × columns
   */
  private record Part(Link link, Tensor b, Tensor a, double scale) {}

  /**
   * The changes. Reads nothing but factors of quantised types and those of the embedding, which are held in memory, and norms.
   *
   * @param adapter the adapter's name, for messages
   * @param difference whether norms that the adapter holds whole count as their difference from the model's; otherwise they replace
   * @throws IncompatibleModelException if the adapter does not fit the model, with every mismatch
   */
  public static Map<String, Delta> of(LoraFile file, AdaptedModel model, String adapter, boolean difference) throws IOException {
    LoraDeltas deltas = new LoraDeltas(file, model);
    Map<String, Delta> changes = deltas.changes(difference);
    if (!deltas.mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          "the adapter " + Names.quote(adapter) + " does not fit " + Names.quote(model.name()), deltas.mismatches);
    }
    return changes;
  }

  private Map<String, Delta> changes(boolean difference) throws IOException {
    if (!file.architecture().equals(model.architecture())) {
      mismatches.add(Mismatch.of("general.architecture",
          "the adapter is for " + Names.quote(file.architecture()) + " but the model is " + Names.quote(model.architecture())));
      return Map.of();
    }
    Map<String, List<Link>> links = new LinkedHashMap<>();
    model.layout().links().forEach(link -> links.computeIfAbsent(link.gguf(), name -> new ArrayList<>()).add(link));
    for (Map.Entry<String, LoraFile.Factors> entry : file.factors().entrySet()) {
      Optional<String> problem = misfit(entry.getKey(), entry.getValue());
      if (problem.isPresent()) {
        mismatches.add(Mismatch.of(entry.getKey(), problem.get()));
      } else {
        addParts(entry.getKey(), entry.getValue(), links.get(entry.getKey()));
      }
    }
    Map<String, Delta> changes = new TreeMap<>();
    parts.forEach((source, all) -> changes.put(source, delta(model.layout().sources().get(source), all)));
    for (Map.Entry<String, Tensor> norm : file.norms().entrySet()) {
      addNorm(norm.getKey(), norm.getValue(), links.getOrDefault(norm.getKey(), List.of()), difference, changes);
    }
    return changes;
  }

  private Optional<String> misfit(String name, LoraFile.Factors factors) {
    Shape weight = model.layout().tensors().get(name);
    if (weight == null || model.layout().generated().contains(name)) {
      return Optional.of("the model has no such tensor");
    }
    Shape a = factors.a().info().shape();
    Shape b = factors.b().info().shape();
    int rank = weight.rank();
    boolean embedding = name.equals(LoraFile.EMBEDDING);
    boolean fits = rank == b.rank() && (rank == 2 || rank == 3)
        && weight.dimension(rank - 2) == (embedding ? a : b).dimension(rank - 2)
        && weight.dimension(rank - 1) == (embedding ? b.dimension(0) : a.dimension(rank - 1))
        && (rank == 2 || b.dimension(0) == weight.dimension(0) && (a.dimension(0) == 1 || a.dimension(0) == weight.dimension(0)));
    return fits ? Optional.empty() : Optional.of("of shape " + weight + " is not what factors of " + b + " and " + a + " change");
  }

  private void addParts(String name, LoraFile.Factors factors, List<Link> links) throws IOException {
    long rank = factors.rank();
    double scale = file.alpha() == 0 ? 1 : file.alpha() / rank;
    boolean embedding = name.equals(LoraFile.EMBEDDING);
    Tensor b = FactorRows.arithmetic(embedding ? factors.a() : factors.b());
    Tensor a = embedding ? FactorRows.transposed(factors.b()) : FactorRows.arithmetic(factors.a());
    Shape weight = model.layout().tensors().get(name);
    long rowsOfOne = weight.dimension(weight.rank() - 2);
    boolean shared = a.info().shape().rank() < 3 || a.info().shape().dimension(0) == 1;
    for (Link link : links) {
      // The factors B of experts lie one after the other, as the experts' rows do.
      Tensor rows = link.ggufRow() == 0 && link.rows() == b.info().shape().rows() && link.order() == RowOrder.SAME
          ? b
          : FactorRows.of(b, link.rows(), row -> link.ggufRow() + link.order().targetOf(row));
      long first = shared ? 0 : link.ggufRow() / rowsOfOne * rank;
      Tensor right = a.info().shape().rank() == 2 ? a : FactorRows.of(a, rank, row -> first + row);
      parts.computeIfAbsent(link.source(), source -> new ArrayList<>()).add(new Part(link, rows, right, scale));
    }
  }

  private static Delta delta(Shape shape, List<Part> parts) {
    if (shape.rank() > 2) {
      List<StackedProducts.Product> products = parts.stream()
          .map(part -> new StackedProducts.Product(part.link.sourceRow(), part.b, part.a, part.scale))
          .sorted(Comparator.comparingLong(StackedProducts.Product::firstRow))
          .toList();
      return new Delta.Computed(new StackedProducts(shape, products), Optional.empty());
    }
    List<Delta.Term> terms = new ArrayList<>();
    for (Part part : parts) {
      Link link = part.link;
      Tensor b = link.transposed() || link.rows() == shape.rows()
          ? part.b
          : FactorRows.of(part.b, shape.rows(),
              row -> row < link.sourceRow() || row >= link.sourceRow() + link.rows() ? -1 : row - link.sourceRow());
      terms.add(new Delta.Term(1, new Delta.LowRank(b, part.a, part.scale, link.transposed(), shape)));
    }
    return terms.size() == 1 ? terms.get(0).delta() : new Delta.Sum(terms);
  }

  private void addNorm(String name, Tensor norm, List<Link> links, boolean difference, Map<String, Delta> changes) throws IOException {
    Shape weight = model.layout().tensors().get(name);
    if (weight == null || !weight.equals(norm.info().shape())) {
      mismatches.add(Mismatch.of(name, weight == null
          ? "the model has no such tensor"
          : "of shape " + weight + " is " + norm.info().shape() + " in the adapter"));
      return;
    }
    float[] values = FactorRows.values(norm);
    for (Link link : links) {
      Shape shape = model.layout().sources().get(link.source());
      Tensor tuned = OneTensor.of(link.source(), shape, values(link, shape, values));
      Tensor base = model.decoded().tensor(link.source()).orElseThrow();
      changes.put(link.source(), difference ? new Delta.Difference(tuned, base) : new Delta.Replacement(tuned));
    }
  }

  /** The values of one Hugging Face norm, which is all of the GGUF tensor or a row of it. */
  private static float[] values(Link link, Shape shape, float[] values) {
    float[] own = new float[Math.toIntExact(shape.elements())];
    int first = link.transposed() ? Math.toIntExact(link.ggufRow()) * own.length : 0;
    for (int i = 0; i < own.length; i++) {
      own[i] = values[first + i] - link.shift();
    }
    return own;
  }
}
