package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableList;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Allow;
import io.portllm.BasePolicy;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.patch.TokenMatch;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.kind.AdapterBase;
import io.portllm.io.internal.adapter.kind.AdapterKind;
import io.portllm.io.internal.adapter.kind.AdapterTensors;
import io.portllm.io.internal.adapter.kind.DoraChanges;
import io.portllm.io.internal.adapter.kind.ParameterLora;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.tokenizer.TokenizerFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * What the tensors of an adapter change. Their key names are those of PEFT: {@code base_model.model.<module>.lora_A.weight} and so on. LoRA
 * is read here, every other kind by its {@link AdapterKind}; what all kinds have in common (weights saved whole, biases, token rows) is
 * here.
 */
public final class AdapterContents {
  /**
   * What an adapter changes in its base.
   *
   * @param deltas the changes by tensor name
   * @param rows what the rows of embedding and head changes stand for
   */
  public record Changes(Map<String, Delta> deltas, TokenRows rows) {}

  static final String PREFIX = "base_model.model.";

  private final Path folder;
  private final SortedTensors sorted;

  private AdapterContents(Path folder, SortedTensors sorted) {
    this.folder = folder;
    this.sorted = sorted;
  }

  /**
   * Sorts and checks the tensors of an adapter; reads all of them, to refuse NaN and infinity.
   *
   * @param folder the adapter's folder, for its configuration
   * @param file the adapter's weight file, for messages
   * @param tensors the tensors of that file
   */
  public static AdapterContents read(Path folder, Path file, ModelVersion tensors) throws IOException {
    return of(folder, file, AdapterConfig.read(folder), tensors);
  }

  /** Sorts and checks tensors by a configuration that was read already. */
  static AdapterContents of(Path folder, Path file, AdapterConfig config, ModelVersion tensors) throws IOException {
    SortedTensors sorted = TensorSorting.of(file, config, tensors);
    TensorChecking.check(sorted);
    return new AdapterContents(folder, sorted);
  }

  /** Refuses an adapter whose kind is not read, before its weights are opened. */
  public static void checkKind(Path folder) throws IOException {
    AdapterConfig.read(folder);
  }

  /**
   * The changes without a base: weights saved whole replace the new base's.
   *
   * @throws IncompatibleModelException if only a base can tell what changed
   */
  public Map<String, Delta> deltas(MergeOptions options) throws IOException {
    Map<String, Delta> deltas = changes(AdapterBase.none(options.basePolicy()));
    List<Mismatch> mismatches = new ArrayList<>();
    for (String name : sorted.copies.keySet()) {
      mismatches.add(Mismatch.of(name, "is stored whole, and only the base tells whether it was changed"));
    }
    Map<String, Delta> replacements = new TreeMap<>();
    sorted.saved.forEach((name, tensor) -> replacements.put(name, new Delta.Replacement(tensor)));
    for (Map.Entry<String, Tensor> rows : sorted.tokenRows.entrySet()) {
      ImmutableLongArray indices = ImmutableLongArray.copyOf(sorted.config.tokenIndices(rows.getKey()));
      replacements.put(rows.getKey() + ".weight", new Delta.RowReplacement(indices, rows.getValue(), upTo(indices, rows.getValue())));
    }
    for (Map.Entry<String, Delta> entry : replacements.entrySet()) {
      if (deltas.putIfAbsent(entry.getKey(), entry.getValue()) != null) {
        mismatches.add(Mismatch.of(entry.getKey(), "is stored beside factors that add to it, and only the base tells what to add them to"));
      }
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException("the adapter " + Names.quote(sorted.tensors.name()) + " cannot be applied without its base",
          mismatches);
    }
    return deltas;
  }

  /**
   * The changes against a base: weights saved whole count as their difference from the base's, embeddings and heads token by token.
   *
   * @throws IncompatibleModelException if the adapter has weights that the base lacks, unless extra tensors are allowed
   */
  public Changes deltas(ModelVersion base, MergeOptions options) throws IOException {
    Map<String, Delta> deltas = changes(AdapterBase.of(base, options.basePolicy()));
    List<Mismatch> mismatches = new ArrayList<>();
    TokenMatch tokens = TokenMatch.of(tokensOfCopies(), base, options, mismatches::add);
    Map<String, Tensor> whole = sorted.whole();
    for (Map.Entry<String, Delta> entry : List.copyOf(deltas.entrySet())) {
      if (entry.getValue() instanceof Delta.Replacement replacement) {
        whole.put(entry.getKey(), replacement.values());
        deltas.remove(entry.getKey());
      }
    }
    for (Map.Entry<String, Tensor> entry : whole.entrySet()) {
      String name = entry.getKey();
      Optional<Tensor> old = base.tensor(name);
      if (old.isEmpty()) {
        if (options.allows(Allow.EXTRA_TENSORS)) {
          deltas.put(name, new Delta.Replacement(entry.getValue()));
        } else {
          mismatches.add(Mismatch.of(name, "is saved in the adapter but not in the base", Allow.EXTRA_TENSORS));
        }
      } else {
        difference(name, entry.getValue(), old.get(), tokens, options, mismatches).ifPresent(delta -> add(name, delta, deltas, mismatches));
      }
    }
    for (Map.Entry<String, Tensor> rows : sorted.tokenRows.entrySet()) {
      String name = rows.getKey() + ".weight";
      ImmutableLongArray indices = ImmutableLongArray.copyOf(sorted.config.tokenIndices(rows.getKey()));
      Optional<Tensor> old = base.tensor(name);
      Shape needed = upTo(indices, rows.getValue());
      if (old.isPresent() && !old.get().info().dtype().isArithmetic()) {
        mismatches.add(Mismatch.of(name, "is " + old.get().info().dtype() + " in the base, which cannot be changed"));
      } else if (old.isEmpty()
          || old.get().info().shape().columns() != needed.columns()
          || old.get().info().shape().rows() < needed.rows()) {
        String found = old.map(tensor -> "is " + tensor.info().shape()).orElse("is missing");
        mismatches.add(Mismatch.of(name, found + " in the base, but the adapter changes rows up to number " + (needed.rows() - 1) + " of "
            + needed.columns() + " columns"));
      } else {
        add(name, new Delta.Rows(indices, rows.getValue(), old, old.get().info().shape()), deltas, mismatches);
      }
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          "the adapter " + Names.quote(sorted.tensors.name()) + " does not fit the base " + Names.quote(base.name()), mismatches);
    }
    return new Changes(deltas, tokens.rows());
  }

  /**
   * What the rows of the adapter's changes stand for where its base is not at hand: what its own tokenizer says.
   *
   * @throws IOException if the tokenizer is malformed
   */
  public TokenRows tokens() throws IOException {
    Vocabulary vocabulary = vocabulary();
    return vocabulary.isEmpty() ? TokenRows.unknown() : new TokenRows(vocabulary, vocabulary.end());
  }

  /** What the rows of the embeddings and heads that are stored whole stand for. */
  private Vocabulary tokensOfCopies() throws IOException {
    OptionalLong rows =
        Stream.of(sorted.saved, sorted.copies)
            .flatMap(map -> map.entrySet().stream())
            .filter(entry -> Embeddings.isVocabulary(entry.getKey()))
            .mapToLong(entry -> entry.getValue().info().shape().rows())
            .min();
    return rows.isEmpty() ? Vocabulary.empty() : vocabulary().before(rows.getAsLong());
  }

  private Vocabulary vocabulary() throws IOException {
    Path tokenizer = folder.resolve(TokenizerFiles.TOKENIZER);
    return Files.exists(tokenizer) ? TokenizerFiles.vocabulary(folder, List.of(new FolderFile(tokenizer))) : Vocabulary.empty();
  }

  /** The adapter's tokenizer, which trainers save beside it. */
  private record FolderFile(Path path) implements SideFile {
    @Override
    public String name() {
      return path.getFileName().toString();
    }

    @Override
    public InputStream open() throws IOException {
      Paths.regularFile(path);
      return Files.newInputStream(path);
    }
  }

  private static Optional<Delta> difference(
      String name, Tensor mine, Tensor old, TokenMatch tokens, MergeOptions options, List<Mismatch> mismatches) {
    Shape found = mine.info().shape();
    Shape expected = old.info().shape();
    if (!old.info().dtype().isArithmetic()) {
      mismatches.add(Mismatch.of(name, "is " + old.info().dtype() + " in the base, which cannot be changed"));
      return Optional.empty();
    }
    if (!found.equals(expected)) {
      boolean rowsOnly = Embeddings.isVocabulary(name) && found.rank() == expected.rank() && found.columns() == expected.columns();
      Allow allow = rowsOnly ? Allow.OTHER_VOCABULARY : Allow.OTHER_SHAPES;
      if (!(rowsOnly && tokens.isByToken()) && !options.allows(allow)) {
        mismatches.add(Mismatch.of(name, "is " + found + " in the adapter and " + expected + " in the base", allow));
        return Optional.empty();
      }
      if (!rowsOnly) {
        return Optional.empty();
      }
    }
    return Optional.of(Embeddings.isVocabulary(name) ? tokens.difference(mine, old) : new Delta.Difference(mine, old));
  }

  /** Adds a change to that which the factors make, if they make one. */
  private static void add(String name, Delta delta, Map<String, Delta> deltas, List<Mismatch> mismatches) {
    Delta product = deltas.get(name);
    if (product == null) {
      deltas.put(name, delta);
    } else if (product.shape().columns() != delta.shape().columns()) {
      mismatches.add(
          Mismatch.of(name, "is " + product.shape() + " by the adapter's factors and " + delta.shape() + " by what is stored beside them"));
    } else {
      deltas.put(name, new Delta.Sum(ImmutableList.<Delta.Term>builder().addAll(Terms.of(product)).addAll(Terms.of(delta)).build()));
    }
  }

  /** The changes that will be computed on weights yet unknown, of which the shapes are those of {@code shapes}. */
  Map<String, Delta> changesAnew(ModelVersion shapes) throws IOException {
    return changes(AdapterBase.of(shapes, BasePolicy.EVALUATE_ANEW));
  }

  /** The changes of the adapter's kind; a replacement stands for a weight saved whole. */
  private Map<String, Delta> changes(AdapterBase base) throws IOException {
    Map<String, Delta> settled = new TreeMap<>(Dependence.settle(sorted.tensors.name(), unsettled(base), base, sorted.whole()));
    settled.replaceAll((name, delta) -> withSource(name, delta, base));
    return settled;
  }

  /** A change that will be computed on weights yet unknown remembers what it is made of, so that it can be saved. */
  private Delta withSource(String name, Delta delta, AdapterBase base) {
    if (!(delta instanceof Delta.Computed computed) || !computed.change().dependsOnWeights() || computed.frozenOn().isPresent()) {
      return delta;
    }
    String module = name.substring(0, name.lastIndexOf('.'));
    Shape weight = name.endsWith(".weight") ? delta.shape() : base.shape(module + ".weight");
    return new Delta.Computed(new AdapterChange(computed.change(), sorted.config, module, weight, partsOf(module)), Optional.empty());
  }

  private Map<String, Tensor> partsOf(String module) {
    Map<String, Tensor> found = new TreeMap<>();
    if (sorted.config.kind().isPresent()) {
      found.putAll(sorted.parts.modules().get(module).parts());
    } else {
      Map.of(
              "lora_A.weight", sorted.as,
              "lora_B.weight", sorted.bs,
              "lora_embedding_A", sorted.embeddingAs,
              "lora_embedding_B", sorted.embeddingBs,
              "lora_magnitude_vector", sorted.magnitudes)
          .forEach((part, all) -> Optional.ofNullable(all.get(module)).ifPresent(tensor -> found.put(part, tensor)));
    }
    return found;
  }

  private Map<String, Delta> unsettled(AdapterBase base) throws IOException {
    if (sorted.config.kind().isEmpty()) {
      Map<String, Delta> deltas = products();
      deltas.putAll(ParameterLora.deltas(sorted.parts, base, sorted.tensors.name()));
      return deltas;
    }
    AdapterKind kind = sorted.config.kind().get();
    Optional<String> reason = kind.needsBase(sorted.parts);
    if (reason.isPresent()) {
      List<Mismatch> mismatches = new ArrayList<>();
      for (AdapterTensors.Module module : sorted.parts.modules().values()) {
        Optional<Tensor> weight = base.tensor(module.weight());
        if (base.model().isEmpty()) {
          mismatches.add(Mismatch.of(module.weight(), reason.get()));
        } else if (weight.isEmpty()) {
          mismatches.add(Mismatch.of(module.weight(), "is changed by the adapter but is not in the base"));
        } else if (!weight.get().info().dtype().isArithmetic()) {
          mismatches.add(Mismatch.of(module.weight(), "is " + weight.get().info().dtype() + " in the base, which cannot be changed"));
        }
      }
      if (!mismatches.isEmpty()) {
        String what = base.model().map(model -> " does not fit the base "
            + Names.quote(model.name())).orElse(" cannot be applied without its base");
        throw new IncompatibleModelException("the adapter " + Names.quote(sorted.tensors.name()) + what, mismatches);
      }
    }
    return kind.deltas(sorted.parts, base);
  }

  private Map<String, Delta> products() throws IOException {
    Map<String, Delta.LowRank> products = new TreeMap<>();
    for (Map.Entry<String, Tensor> entry : sorted.as.entrySet()) {
      String module = entry.getKey();
      products.put(module, product(sorted.bs.get(module), entry.getValue(), sorted.config.scale(module), sorted.config.fanInFanOut()));
    }
    for (Map.Entry<String, Tensor> entry : sorted.embeddingAs.entrySet()) {
      String module = entry.getKey();
      products.put(module, product(sorted.embeddingBs.get(module), entry.getValue(), sorted.config.scale(module), true));
    }
    DoraChanges dora = new DoraChanges();
    Map<String, Delta> deltas = new TreeMap<>();
    products.forEach((module, product) -> {
      Tensor magnitude = sorted.magnitudes.get(module);
      deltas.put(module + ".weight", magnitude == null ? product : dora.of(product, magnitude));
    });
    for (Map.Entry<String, Tensor> entry : sorted.loraBiases.entrySet()) {
      String module = entry.getKey();
      deltas.put(module + ".bias", new Delta.Sum(List.of(new Delta.Term(sorted.config.scale(module), new Delta.Dense(entry.getValue())))));
    }
    return deltas;
  }

  private static Delta.LowRank product(Tensor b, Tensor a, double scale, boolean transposed) {
    long out = b.info().shape().rows();
    Shape shape = transposed ? Shape.of(a.info().shape().columns(), out) : a.info().shape().withRows(out);
    return new Delta.LowRank(b, a, scale, transposed, shape);
  }

  private static Shape upTo(ImmutableLongArray indices, Tensor rows) {
    long most = indices.stream().max().orElse(-1);
    return Shape.of(Math.addExact(most, 1), rows.info().shape().columns());
  }
}
