package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableList;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.Equality;
import io.portllm.internal.text.Names;
import io.portllm.io.ExportOptions;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/** A patch as the files of a PEFT adapter folder; weights that are saved whole are computed as they are read. */
public final class AdapterExport implements ModelVersion {
  private static final String PREFIX = "base_model.model.";
  private static final String WEIGHT = ".weight";
  private static final String BIAS = ".bias";

  /** What nn.Embedding modules are called. */
  private static final Set<String> EMBEDDINGS =
      Set.of(
          "embed_tokens", "wte", "wpe", "word_embeddings", "position_embeddings", "token_type_embeddings", "embed_in", "embed_positions",
          "tok_embeddings", "shared");

  /** The models and modules of transformers whose weights are stored in × out. */
  private static final Set<String> CONV1D_MODELS = Set.of("gpt2", "openai-gpt", "imagegpt", "decision_transformer");
  private static final Set<String> CONV1D_MODULES = Set.of("c_attn", "c_proj", "c_fc", "q_attn");

  private final Patch patch;
  private final ExportOptions options;
  private final Optional<ModelVersion> base;
  private final Optional<ModelVersion> patched;
  private final List<Mismatch> mismatches = new ArrayList<>();
  private final SortedMap<String, ExportedFactors> factors = new TreeMap<>();
  /** The shapes of the weights that the factors change. */
  private final Map<String, Shape> shapes = new TreeMap<>();
  private final Set<String> whole = new TreeSet<>();
  private final Map<String, Tensor> sources = new TreeMap<>();
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private boolean biases;
  private boolean fanInFanOut;

  private AdapterExport(Patch patch, ExportOptions options) {
    this.patch = patch;
    this.options = options;
    this.base = options.base().or(() -> patch.base().flatMap(PatchBase::model));
    this.patched = base.map(patch::applyTo);
  }

  /**
   * What the adapter of {@code patch} holds.
   *
   * @throws IncompatibleModelException if PEFT cannot hold it
   */
  public static AdapterExport of(Patch patch, ExportOptions options) throws IOException {
    AdapterExport export = new AdapterExport(patch, options);
    export.sort();
    if (!export.mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          "the patch " + Names.quote(patch.recipe()) + " cannot be written as a PEFT adapter", export.mismatches);
    }
    if (export.factors.isEmpty()) {
      throw new IllegalStateException(
          "the patch " + Names.quote(patch.recipe()) + " has no low-rank change of a module, without which PEFT loads no adapter; extract it by rank first");
    }
    export.sources.forEach(
        (name, tensor) -> export.infos.put(name, new TensorInfo(name, tensor.info().dtype(), export.shapeOf(name, tensor))));
    return export;
  }

  private void sort() throws IOException {
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      String tensor = entry.getKey();
      if (entry.getValue() instanceof Delta.Unchanged same) {
        Equality.require(tensor, same, 0, same.base().info().bytes(), new DirectBuffers(1 << 20));
      } else if (!tensor.endsWith(WEIGHT) && !tensor.endsWith(BIAS)) {
        mismatches.add(Mismatch.of(tensor, "is no weight or bias of a module, and a PEFT adapter holds nothing else"));
      } else if (tensor.endsWith(WEIGHT)) {
        Delta delta = ExportedFactors.withoutZeros(entry.getValue());
        if (ExportedFactors.products(delta).isPresent()) {
          product(tensor, delta);
        }
      }
    }
    // Biases come after the factors: beside factors they are saved alone, elsewhere with their module.
    patch.deltas().forEach(
        (tensor, delta) -> {
          boolean isWeight = tensor.endsWith(WEIGHT);
          if (delta instanceof Delta.Unchanged || !isWeight && !tensor.endsWith(BIAS) || factors.containsKey(module(tensor)) && isWeight) {
            return;
          }
          if (factors.containsKey(module(tensor))) {
            biases = true;
            save(tensor, delta, PREFIX + module(tensor) + ".base_layer" + BIAS);
          } else {
            whole(tensor, delta);
          }
        });
    boolean otherRows =
        base.flatMap(patch::compareTokens)
            .map(report -> report.moved().count() + report.removed().count() > 0)
            .orElse(!patch.tokens().added().isEmpty());
    if (otherRows) {
      patch.deltas().keySet().stream()
          .filter(Embeddings::isVocabulary)
          .forEach(
              tensor ->
                  mismatches.add(Mismatch.of(tensor, "has rows in the patch for other tokens than in the base, and an adapter changes rows by index")));
    }
    if (base.isPresent() && Embeddings.tying(base.get()) == Tying.TIED) {
      patch.deltas().keySet().stream()
          .filter(tensor -> Embeddings.isVocabulary(tensor) && tensor.endsWith(WEIGHT))
          .forEach(tensor -> mismatches.add(Mismatch.of(tensor, "is embedding and head in one, of which PEFT changes only one")));
    }
  }

  private static String module(String tensor) {
    return tensor.substring(0, tensor.lastIndexOf('.'));
  }

  private static String last(String module) {
    return module.substring(module.lastIndexOf('.') + 1);
  }

  private void product(String tensor, Delta delta) throws IOException {
    String module = module(tensor);
    boolean embedding = EMBEDDINGS.contains(last(module));
    boolean conv1d = !embedding && isConv1d(module, delta);
    fanInFanOut |= conv1d;
    ExportedFactors found = ExportedFactors.of(tensor, delta, embedding || conv1d);
    factors.put(module, found);
    shapes.put(module, delta.shape());
    sources.put(PREFIX + module + (embedding ? ".lora_embedding_A" : ".lora_A.weight"), found.a());
    sources.put(PREFIX + module + (embedding ? ".lora_embedding_B" : ".lora_B.weight"), found.b());
  }

  /** Whether the module's weight is stored in × out: by its model if that is known, else as its factors say. */
  private boolean isConv1d(String module, Delta delta) {
    Optional<String> type = base.map(model -> model.config().get("model_type"));
    return type.isPresent()
        ? CONV1D_MODELS.contains(type.get()) && CONV1D_MODULES.contains(last(module))
        : ExportedFactors.products(delta).orElseThrow().get(0).transposed();
  }

  /** Saves the module of {@code tensor} with all its parameters, as PEFT does. */
  private void whole(String tensor, Delta delta) {
    String module = module(tensor);
    whole.add(module);
    save(tensor, delta, PREFIX + tensor);
    patched.ifPresent(
        model ->
            model.tensors().stream()
                .filter(info -> info.name().startsWith(module + ".") && info.name().indexOf('.', module.length() + 1) < 0)
                .forEach(info -> sources.put(PREFIX + info.name(), new Tensor(model, info))));
  }

  private void save(String tensor, Delta delta, String key) {
    Optional<Tensor> values = patched.flatMap(model -> model.tensor(tensor));
    if (values.isEmpty() && delta instanceof Delta.Replacement replacement) {
      values = Optional.of(replacement.values());
    }
    if (values.isPresent()) {
      sources.put(key, values.get());
    } else {
      mismatches.add(Mismatch.of(tensor, "is no product of low-rank factors, so PEFT must hold it whole, for which the base is needed"));
    }
  }

  /** Factors of convolutions have the dimensions that PEFT gives them; all else keeps its own. */
  private Shape shapeOf(String name, Tensor tensor) {
    boolean left = name.endsWith(".lora_B.weight");
    if (!left && !name.endsWith(".lora_A.weight")) {
      return tensor.info().shape();
    }
    String module = name.substring(PREFIX.length(), name.length() - ".lora_A.weight".length());
    Shape weight = shapes.get(module);
    Shape own = tensor.info().shape();
    if (weight.rank() <= 2) {
      return Shape.of(own.rows(), own.columns());
    }
    if (!left) {
      return weight.withRows(own.rows());
    }
    long[] dimensions = new long[weight.rank()];
    Arrays.fill(dimensions, 1);
    dimensions[0] = own.rows();
    dimensions[1] = own.columns();
    return Shape.of(dimensions);
  }

  @Override
  public String name() {
    return patch.recipe();
  }

  @Override
  public List<Shard> shards() {
    return List.of(new Shard("adapter_model.safetensors", Map.of("format", "pt"), tensors()));
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
  public List<SideFile> sideFiles() {
    Optional<String> name =
        options.baseName().or(() -> base.map(model -> Names.last(model.name()))).or(() -> patch.base().map(PatchBase::name));
    byte[] config = ExportConfig.of(factors, List.copyOf(whole), biases, fanInFanOut, options.isTrainable(), name, base);
    return List.of(
        new SideFile() {
          @Override
          public String name() {
            return "adapter_config.json";
          }

          @Override
          public InputStream open() {
            return new ByteArrayInputStream(config);
          }
        });
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    sources.get(tensor.name()).read(offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    Set<ModelVersion> versions = new HashSet<>();
    sources.values().forEach(tensor -> versions.add(tensor.version()));
    for (ModelVersion version : versions) {
      version.verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
