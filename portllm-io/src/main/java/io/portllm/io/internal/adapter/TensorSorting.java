package io.portllm.io.internal.adapter;

import com.google.common.collect.ImmutableMap;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.kind.AdapterKind;
import io.portllm.io.internal.adapter.kind.ParameterLora;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Sorts the tensors of an adapter by their key names, which are PEFT's, and refuses names that it does not understand. */
final class TensorSorting {
  private static final String ROOT = "base_model.";
  private static final String PREFIX = AdapterContents.PREFIX;

  private final SortedTensors sorted;

  private TensorSorting(SortedTensors sorted) {
    this.sorted = sorted;
  }

  /** The tensors of the adapter, sorted. */
  static SortedTensors of(Path file, AdapterConfig config, ModelVersion tensors) throws IOException {
    TensorSorting sorting = new TensorSorting(new SortedTensors(file, config, tensors));
    sorting.sortAll();
    return sorting.sorted;
  }

  private void sortAll() throws IOException {
    if (sorted.tensors.tensors().isEmpty()) {
      throw sorted.malformed("AD-MODEL", "holds no tensors");
    }
    for (TensorInfo info : sorted.tensors.tensors()) {
      sort(info);
    }
  }

  private void sort(TensorInfo info) throws IOException {
    Tensor tensor = new Tensor(sorted.tensors, info);
    // A state dict taken from a live model names the adapter too: lora_A.default.weight.
    String name = info.name().replace(".default.", ".").replaceFirst("\\.default$", "");
    if (sorted.config.kind().isPresent() && sort(sorted.config.kind().get(), name, tensor)) {
      return;
    }
    if (!name.startsWith(PREFIX)) {
      throw sorted.unknown(info, "does not begin with " + PREFIX);
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
          throw sorted.malformed("AD-TARGET", "tensor " + Names.quote(info.name()) + " names a factor that another name stands for too");
        }
        return;
      }
    }
    if (key.endsWith(".lora_magnitude_vector") || key.endsWith(".lora_magnitude_vector.weight")) {
      throw sorted.malformed("AD-DORA", "tensor " + Names.quote(info.name()) + " belongs to DoRA, which use_dora does not switch on");
    }
    sortWhole(key, tensor);
  }

  /** Whether the tensor called {@code name} belongs to {@code kind}, which it is then given to. */
  private boolean sort(AdapterKind kind, String name, Tensor tensor) throws IOException {
    for (String part : kind.shared()) {
      if (name.equals(ROOT + part)) {
        requireArithmetic(tensor.info());
        sorted.parts.putShared(part, tensor);
        return true;
      }
    }
    for (String part : kind.parts()) {
      if (name.startsWith(PREFIX) && name.endsWith("." + part) && name.length() > PREFIX.length() + part.length() + 1) {
        if (!kind.indices().contains(part)) {
          requireArithmetic(tensor.info());
        }
        sorted.parts.put(name.substring(PREFIX.length(), name.length() - part.length() - 1), part, tensor);
        return true;
      }
    }
    return false;
  }

  /** Whether the tensor is a factor of LoRA on a parameter. */
  private boolean sortParameter(String key, Tensor tensor) throws IOException {
    for (String part : sorted.config.kind().isPresent() ? List.<String>of() : ParameterLora.PARTS) {
      String module = key.substring(0, Math.max(0, key.length() - part.length() - 1));
      if (key.endsWith("." + part) && ParameterLora.isParameter(sorted.config, module)) {
        sorted.parts.put(module, part, tensor);
        return true;
      }
    }
    return false;
  }

  private void requireArithmetic(TensorInfo info) throws IOException {
    if (!info.dtype().isArithmetic()) {
      throw sorted.malformed("AD-DTYPE", "tensor " + Names.quote(info.name()) + " is " + info.dtype() + ", not a floating type");
    }
  }

  private Map<String, Map<String, Tensor>> places() throws IOException {
    Map<String, Map<String, Tensor>> rows = Map.of(".token_adapter.trainable_tokens_delta", sorted.tokenRows);
    if (sorted.config.kind().isPresent()) {
      return rows;
    }
    Map<String, Tensor> dora = sorted.magnitudes;
    Map<String, Map<String, Tensor>> magnitudes =
        sorted.config.flag("use_dora") ? Map.of(".lora_magnitude_vector", dora, ".lora_magnitude_vector.weight", dora) : Map.of();
    return ImmutableMap.<String, Map<String, Tensor>>builder()
        .put(".lora_A.weight", sorted.as)
        .put(".lora_B.weight", sorted.bs)
        .put(".lora_embedding_A", sorted.embeddingAs)
        .put(".lora_embedding_B", sorted.embeddingBs)
        .put(".lora_B.bias", sorted.loraBiases)
        .putAll(rows)
        .putAll(magnitudes)
        .buildOrThrow();
  }

  private void sortWhole(String key, Tensor tensor) throws IOException {
    int dot = key.lastIndexOf('.');
    String end = dot < 0 ? "" : key.substring(dot);
    boolean adapted = key.endsWith(".base_layer" + end);
    String module = dot < 0 ? "" : key.substring(0, dot).replaceFirst("\\.base_layer$", "").replaceFirst("\\.modules_to_save(\\.|$)", "$1");
    String name = module + end;
    if (!end.equals(".weight") && !end.equals(".bias") || key.contains(".lora_")) {
      throw sorted.unknown(tensor.info(), "is no factor, token row, bias or saved weight");
    }
    if (module.contains(".original_module")) {
      throw sorted.unknown(tensor.info(), "is of a module from before training, which was saved whole too");
    }
    boolean toSave = isSaved(module);
    Map<String, Tensor> place;
    if (toSave || end.equals(".bias") && !sorted.config.bias().equals("none")) {
      place = sorted.saved;
    } else if (end.equals(".weight") && (adapted || Embeddings.isVocabulary(name))) {
      place = sorted.copies;
    } else {
      throw sorted.unknown(tensor.info(), "belongs to a module that modules_to_save does not name");
    }
    if (place.put(name, tensor) != null) {
      throw sorted.malformed(
          "AD-TARGET", "tensor " + Names.quote(tensor.info().name()) + " names a weight that another name stands for too");
    }
  }

  /** Whether modules_to_save names the module or one that it is part of. As in PEFT, a name may begin anywhere. */
  private boolean isSaved(String module) throws IOException {
    List<String> names = sorted.config.modulesToSave();
    for (String path = module; !path.isEmpty(); path = path.substring(0, Math.max(0, path.lastIndexOf('.')))) {
      if (names.stream().anyMatch(path::endsWith)) {
        return true;
      }
    }
    return false;
  }
}
