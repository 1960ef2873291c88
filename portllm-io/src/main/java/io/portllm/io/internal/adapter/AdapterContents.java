package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
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
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.patch.TokenMatch;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.adapter.kind.AdapterBase;
import io.portllm.io.internal.adapter.kind.AdapterKind;
import io.portllm.io.internal.adapter.kind.AdapterTensors;
import io.portllm.io.internal.adapter.kind.DoraChanges;
import io.portllm.io.internal.adapter.kind.ParameterLora;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.tokenizer.TokenizerFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
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
 * The tensors of an adapter, sorted by what they mean. Key names are those of PEFT: {@code base_model.model.<module>.lora_A.weight} and so
 * on. LoRA is read here, every other kind by its {@link AdapterKind}; what all kinds have in common (weights saved whole, biases, token
 * rows) is here.
 */
public final class AdapterContents {
  /**
   * What an adapter changes in its base.
   *
   * @param deltas the changes by tensor name
   * @param rows what the rows of embedding and head changes stand for
   */
  public record Changes(Map<String, Delta> deltas, TokenRows rows) {}

  private static final String ROOT = "base_model.";
  static final String PREFIX = ROOT + "model.";

  private final Path folder;
  private final Path file;
  private final AdapterConfig config;
  private final ModelVersion tensors;
  /** The tensors of a kind other than LoRA, or the factors of LoRA on parameters. */
  private final AdapterTensors parts;

  private final Map<String, Tensor> as = new TreeMap<>();
  private final Map<String, Tensor> bs = new TreeMap<>();
  private final Map<String, Tensor> embeddingAs = new TreeMap<>();
  private final Map<String, Tensor> embeddingBs = new TreeMap<>();
  private final Map<String, Tensor> loraBiases = new TreeMap<>();
  private final Map<String, Tensor> magnitudes = new TreeMap<>();
  private final Map<String, Tensor> tokenRows = new TreeMap<>();
  /** Weights saved whole because they were trained. */
  private final Map<String, Tensor> saved = new TreeMap<>();
  /** Copies of weights that PEFT saves beside the factors, trained or not. */
  private final Map<String, Tensor> copies = new TreeMap<>();

  private AdapterContents(Path folder, Path file, AdapterConfig config, ModelVersion tensors) {
    this.folder = folder;
    this.file = file;
    this.config = config;
    this.tensors = tensors;
    this.parts = new AdapterTensors(file, config);
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
    AdapterContents contents = new AdapterContents(folder, file, config, tensors);
    contents.sort();
    contents.check();
    return contents;
  }

  /** Refuses an adapter whose kind is not read, before its weights are opened. */
  public static void checkKind(Path folder) throws IOException {
    AdapterConfig.read(folder);
  }

  private void sort() throws IOException {
    if (tensors.tensors().isEmpty()) {
      throw malformed("AD-MODEL", "holds no tensors");
    }
    for (TensorInfo info : tensors.tensors()) {
      sort(info);
    }
  }

  private void sort(TensorInfo info) throws IOException {
    Tensor tensor = new Tensor(tensors, info);
    // A state dict taken from a live model names the adapter too: lora_A.default.weight.
    String name = info.name().replace(".default.", ".").replaceFirst("\\.default$", "");
    if (config.kind().isPresent() && sort(config.kind().get(), name, tensor)) {
      return;
    }
    if (!name.startsWith(PREFIX)) {
      throw unknown(info, "does not begin with " + PREFIX);
    }
    requireArithmetic(info);
    String key = name.substring(PREFIX.length());
    if (sortParameter(key, tensor)) {
      return;
    }
    for (Map.Entry<String, Map<String, Tensor>> kind : places().entrySet()) {
      if (key.endsWith(kind.getKey())) {
        String module = key.substring(0, key.length() - kind.getKey().length());
        if (kind.getValue().put(module, tensor) != null) {
          throw malformed("AD-TARGET", "tensor " + Names.quote(info.name()) + " names a factor that another name stands for too");
        }
        return;
      }
    }
    if (key.endsWith(".lora_magnitude_vector") || key.endsWith(".lora_magnitude_vector.weight")) {
      throw malformed("AD-DORA", "tensor " + Names.quote(info.name()) + " belongs to DoRA, which use_dora does not switch on");
    }
    sortWhole(key, tensor);
  }

  /** Whether the tensor called {@code name} belongs to {@code kind}, which it is then given to. */
  private boolean sort(AdapterKind kind, String name, Tensor tensor) throws IOException {
    for (String part : kind.shared()) {
      if (name.equals(ROOT + part)) {
        requireArithmetic(tensor.info());
        parts.putShared(part, tensor);
        return true;
      }
    }
    for (String part : kind.parts()) {
      if (name.startsWith(PREFIX) && name.endsWith("." + part) && name.length() > PREFIX.length() + part.length() + 1) {
        if (!kind.indices().contains(part)) {
          requireArithmetic(tensor.info());
        }
        parts.put(name.substring(PREFIX.length(), name.length() - part.length() - 1), part, tensor);
        return true;
      }
    }
    return false;
  }

  /** Whether the tensor is a factor of LoRA on a parameter. */
  private boolean sortParameter(String key, Tensor tensor) throws IOException {
    for (String part : config.kind().isPresent() ? List.<String>of() : ParameterLora.PARTS) {
      String module = key.substring(0, Math.max(0, key.length() - part.length() - 1));
      if (key.endsWith("." + part) && ParameterLora.isParameter(config, module)) {
        parts.put(module, part, tensor);
        return true;
      }
    }
    return false;
  }

  private void requireArithmetic(TensorInfo info) throws IOException {
    if (!info.dtype().isArithmetic()) {
      throw malformed("AD-DTYPE", "tensor " + Names.quote(info.name()) + " is " + info.dtype() + ", not a floating type");
    }
  }

  private Map<String, Map<String, Tensor>> places() throws IOException {
    Map<String, Map<String, Tensor>> rows = Map.of(".token_adapter.trainable_tokens_delta", tokenRows);
    if (config.kind().isPresent()) {
      return rows;
    }
    Map<String, Map<String, Tensor>> dora =
        config.flag("use_dora") ? Map.of(".lora_magnitude_vector", magnitudes, ".lora_magnitude_vector.weight", magnitudes) : Map.of();
    return ImmutableMap.<String, Map<String, Tensor>>builder()
        .put(".lora_A.weight", as)
        .put(".lora_B.weight", bs)
        .put(".lora_embedding_A", embeddingAs)
        .put(".lora_embedding_B", embeddingBs)
        .put(".lora_B.bias", loraBiases)
        .putAll(rows)
        .putAll(dora)
        .buildOrThrow();
  }

  private void sortWhole(String key, Tensor tensor) throws IOException {
    int dot = key.lastIndexOf('.');
    String end = dot < 0 ? "" : key.substring(dot);
    boolean adapted = key.endsWith(".base_layer" + end);
    String module = dot < 0 ? "" : key.substring(0, dot).replaceFirst("\\.base_layer$", "").replaceFirst("\\.modules_to_save(\\.|$)", "$1");
    String name = module + end;
    if (!end.equals(".weight") && !end.equals(".bias") || key.contains(".lora_")) {
      throw unknown(tensor.info(), "is no factor, token row, bias or saved weight");
    }
    if (module.contains(".original_module")) {
      throw unknown(tensor.info(), "is of a module from before training, which was saved whole too");
    }
    boolean toSave = isSaved(module);
    Map<String, Tensor> place;
    if (toSave || end.equals(".bias") && !config.bias().equals("none")) {
      place = saved;
    } else if (end.equals(".weight") && (adapted || Embeddings.isVocabulary(name))) {
      place = copies;
    } else {
      throw unknown(tensor.info(), "belongs to a module that modules_to_save does not name");
    }
    if (place.put(name, tensor) != null) {
      throw malformed("AD-TARGET", "tensor " + Names.quote(tensor.info().name()) + " names a weight that another name stands for too");
    }
  }

  /** Whether modules_to_save names the module or one that it is part of. As in PEFT, a name may begin anywhere. */
  private boolean isSaved(String module) throws IOException {
    List<String> names = config.modulesToSave();
    for (String path = module; !path.isEmpty(); path = path.substring(0, Math.max(0, path.lastIndexOf('.')))) {
      if (names.stream().anyMatch(path::endsWith)) {
        return true;
      }
    }
    return false;
  }

  private void check() throws IOException {
    config.fanInFanOut();
    if (config.kind().isEmpty()) {
      ParameterLora.check(parts);
    }
    checkPairs(as, bs, "lora_A", "lora_B");
    checkPairs(embeddingAs, embeddingBs, "lora_embedding_A", "lora_embedding_B");
    checkMagnitudes();
    for (Map.Entry<String, Tensor> bias : loraBiases.entrySet()) {
      if (!config.loraBias() || !bs.containsKey(bias.getKey())) {
        throw unknown(bias.getValue().info(), "is a bias of lora_B, which lora_bias does not switch on");
      }
    }
    if (!config.bias().equals("none") && saved.keySet().stream().noneMatch(name -> name.endsWith(".bias"))) {
      throw malformed("AD-BIAS", "holds no bias, although bias is " + config.bias());
    }
    checkSaved();
    checkTokenRows();
    checkOnce();
    for (TensorInfo info : tensors.tensors()) {
      if (info.dtype().isArithmetic()) {
        checkValues(info);
      }
    }
    if (config.kind().isPresent() && parts.modules().isEmpty() && saved.isEmpty() && tokenRows.isEmpty()) {
      throw malformed("AD-MODEL", "holds no tensor of its kind");
    }
    if (config.kind().isPresent() && config.kind().get().needsBase(parts).isEmpty()) {
      config.kind().get().deltas(parts, AdapterBase.none(BasePolicy.FREEZE));
    }
  }

  private void checkSaved() throws IOException {
    boolean hasListedByTask = config.modulesToSave().stream().anyMatch(module -> config.isListedByTask(module) && hasSaved(module));
    for (String module : config.modulesToSave()) {
      if (!hasSaved(module) && !(config.isListedByTask(module) && hasListedByTask)) {
        throw malformed("AD-SAVE", "lacks module " + Names.quote(module) + ", which modules_to_save names");
      }
    }
  }

  private boolean hasSaved(String module) {
    return saved.keySet().stream().anyMatch(name -> name.contains(module + "."));
  }

  private void checkTokenRows() throws IOException {
    for (String module : config.tokenModules()) {
      if (tokenRows.keySet().stream().noneMatch(name -> AdapterConfig.isModule(name, module))) {
        throw malformed(
            "AD-TOKENS", "holds no trained token rows" + (module.isEmpty() ? "" : " of " + Names.quote(module))
                + ", which trainable_token_indices names");
      }
    }
    for (Map.Entry<String, Tensor> rows : tokenRows.entrySet()) {
      int indices = config.tokenIndices(rows.getKey()).size();
      Shape shape = rows.getValue().info().shape();
      if (shape.rank() != 2 || shape.rows() != indices) {
        throw malformed("AD-SHAPE", "tensor " + Names.quote(rows.getValue().info().name()) + " is " + shape + " but " + indices
            + " tokens are trained");
      }
    }
  }

  /** Of one weight there is one product, and either trained rows or the whole. */
  private void checkOnce() throws IOException {
    for (String module : as.keySet()) {
      if (embeddingAs.containsKey(module)) {
        throw malformed("AD-TARGET", "module " + Names.quote(module) + " has factors both of a linear layer and of an embedding");
      }
    }
    for (String module : tokenRows.keySet()) {
      if (saved.containsKey(module + ".weight") || copies.containsKey(module + ".weight")) {
        throw malformed("AD-TARGET", "module " + Names.quote(module) + " is stored both whole and as trained token rows");
      }
    }
    for (String name : saved.keySet()) {
      if (copies.containsKey(name)) {
        throw malformed("AD-TARGET", "weight " + Names.quote(name) + " is stored twice");
      }
    }
  }

  private void checkPairs(Map<String, Tensor> a, Map<String, Tensor> b, String aName, String bName) throws IOException {
    for (Map.Entry<String, Tensor> entry : b.entrySet()) {
      if (!a.containsKey(entry.getKey())) {
        throw malformed("AD-PAIR", "module " + Names.quote(entry.getKey()) + " has " + bName + " but no " + aName);
      }
    }
    for (Map.Entry<String, Tensor> entry : a.entrySet()) {
      String module = entry.getKey();
      if (!b.containsKey(module)) {
        throw malformed("AD-PAIR", "module " + Names.quote(module) + " has " + aName + " but no " + bName);
      }
      Shape aShape = entry.getValue().info().shape();
      Shape bShape = b.get(module).info().shape();
      if (aShape.rank() < 2 || bShape.rank() < 2 || aShape.elements() == 0 || bShape.elements() == 0 || bShape.columns() != aShape.rows()) {
        throw malformed(
            "AD-SHAPE",
            "module " + Names.quote(module) + " needs " + aName + " of rank x in and " + bName + " of out x rank but has " + aShape
                + " and " + bShape);
      }
      if (aShape.rows() != config.rank(module)) {
        throw malformed(
            "AD-RANK", "module " + Names.quote(module) + " has rank " + aShape.rows() + " but the configuration says "
                + config.rank(module));
      }
      config.scale(module);
    }
  }

  private void checkMagnitudes() throws IOException {
    Map<String, Tensor> factors = new TreeMap<>(bs);
    factors.putAll(embeddingBs);
    for (Map.Entry<String, Tensor> factor : factors.entrySet()) {
      String module = factor.getKey();
      Tensor magnitude = magnitudes.get(module);
      if (config.flag("use_dora") && magnitude == null) {
        throw malformed("AD-DORA", "module " + Names.quote(module) + " has no lora_magnitude_vector, although use_dora is true");
      }
      long outputs = factor.getValue().info().shape().rows();
      if (magnitude != null && magnitude.info().elements() != outputs) {
        throw malformed(
            "AD-SHAPE", "module " + Names.quote(module) + " has " + outputs + " outputs but a lora_magnitude_vector of "
                + magnitude.info().shape());
      }
    }
    for (String module : magnitudes.keySet()) {
      if (!factors.containsKey(module)) {
        throw malformed("AD-PAIR", "module " + Names.quote(module) + " has lora_magnitude_vector but no lora_B");
      }
    }
  }

  private void checkValues(TensorInfo info) throws IOException {
    int size = info.dtype().bytes();
    int step = 64 << 10;
    ByteBuffer bytes = ByteBuffer.allocate(step * size).order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[step];
    int[] scratch = new int[step];
    for (long first = 0; first < info.elements(); first += step) {
      int count = (int) Math.min(step, info.elements() - first);
      tensors.read(info, first * size, bytes.clear().limit(count * size));
      Floats.read(info.dtype(), bytes, 0, values, count, scratch);
      for (int i = 0; i < count; i++) {
        if (!Float.isFinite(values[i])) {
          throw malformed("AD-VALUES", "tensor " + Names.quote(info.name()) + " is " + values[i] + " at element " + (first + i));
        }
      }
    }
  }

  /**
   * The changes without a base: weights saved whole replace the new base's.
   *
   * @throws IncompatibleModelException if only a base can tell what changed
   */
  public Map<String, Delta> deltas(MergeOptions options) throws IOException {
    Map<String, Delta> deltas = changes(AdapterBase.none(options.basePolicy()));
    List<Mismatch> mismatches = new ArrayList<>();
    copies.keySet().forEach(name -> mismatches.add(Mismatch.of(name, "is stored whole, and only the base tells whether it was changed")));
    Map<String, Delta> replacements = new TreeMap<>();
    saved.forEach((name, tensor) -> replacements.put(name, new Delta.Replacement(tensor)));
    for (Map.Entry<String, Tensor> rows : tokenRows.entrySet()) {
      ImmutableLongArray indices = ImmutableLongArray.copyOf(config.tokenIndices(rows.getKey()));
      replacements.put(rows.getKey() + ".weight", new Delta.RowReplacement(indices, rows.getValue(), upTo(indices, rows.getValue())));
    }
    for (Map.Entry<String, Delta> entry : replacements.entrySet()) {
      if (deltas.putIfAbsent(entry.getKey(), entry.getValue()) != null) {
        mismatches.add(Mismatch.of(entry.getKey(), "is stored beside factors that add to it, and only the base tells what to add them to"));
      }
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException("the adapter " + Names.quote(tensors.name()) + " cannot be applied without its base",
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
    Map<String, Tensor> whole = new TreeMap<>(saved);
    whole.putAll(copies);
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
    for (Map.Entry<String, Tensor> rows : tokenRows.entrySet()) {
      String name = rows.getKey() + ".weight";
      ImmutableLongArray indices = ImmutableLongArray.copyOf(config.tokenIndices(rows.getKey()));
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
          "the adapter " + Names.quote(tensors.name()) + " does not fit the base " + Names.quote(base.name()), mismatches);
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
        Stream.of(saved, copies)
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
    Map<String, Tensor> stored = new TreeMap<>(saved);
    stored.putAll(copies);
    Map<String, Delta> settled = new TreeMap<>(Dependence.settle(tensors.name(), unsettled(base), base, stored));
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
    return new Delta.Computed(new AdapterChange(computed.change(), config, module, weight, partsOf(module)), Optional.empty());
  }

  private Map<String, Tensor> partsOf(String module) {
    Map<String, Tensor> found = new TreeMap<>();
    if (config.kind().isPresent()) {
      found.putAll(parts.modules().get(module).parts());
    } else {
      Map.of("lora_A.weight", as, "lora_B.weight", bs, "lora_embedding_A", embeddingAs, "lora_embedding_B", embeddingBs,
              "lora_magnitude_vector", magnitudes)
          .forEach((part, all) -> Optional.ofNullable(all.get(module)).ifPresent(tensor -> found.put(part, tensor)));
    }
    return found;
  }

  private Map<String, Delta> unsettled(AdapterBase base) throws IOException {
    if (config.kind().isEmpty()) {
      Map<String, Delta> deltas = products();
      deltas.putAll(ParameterLora.deltas(parts, base, tensors.name()));
      return deltas;
    }
    AdapterKind kind = config.kind().get();
    Optional<String> reason = kind.needsBase(parts);
    if (reason.isPresent()) {
      List<Mismatch> mismatches = new ArrayList<>();
      for (AdapterTensors.Module module : parts.modules().values()) {
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
        throw new IncompatibleModelException("the adapter " + Names.quote(tensors.name()) + what, mismatches);
      }
    }
    return kind.deltas(parts, base);
  }

  private Map<String, Delta> products() throws IOException {
    Map<String, Delta.LowRank> products = new TreeMap<>();
    for (Map.Entry<String, Tensor> entry : as.entrySet()) {
      String module = entry.getKey();
      products.put(module, product(bs.get(module), entry.getValue(), config.scale(module), config.fanInFanOut()));
    }
    for (Map.Entry<String, Tensor> entry : embeddingAs.entrySet()) {
      String module = entry.getKey();
      products.put(module, product(embeddingBs.get(module), entry.getValue(), config.scale(module), true));
    }
    DoraChanges dora = new DoraChanges();
    Map<String, Delta> deltas = new TreeMap<>();
    products.forEach(
        (module, product) -> deltas.put(module + ".weight", magnitudes.containsKey(module) ? dora.of(product, magnitudes.get(module))
            : product));
    for (Map.Entry<String, Tensor> entry : loraBiases.entrySet()) {
      String module = entry.getKey();
      deltas.put(module + ".bias", new Delta.Sum(List.of(new Delta.Term(config.scale(module), new Delta.Dense(entry.getValue())))));
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

  private MalformedModelException unknown(TensorInfo info, String why) {
    return malformed("AD-TARGET", "tensor " + Names.quote(info.name()) + " is not understood: it " + why);
  }

  private MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
