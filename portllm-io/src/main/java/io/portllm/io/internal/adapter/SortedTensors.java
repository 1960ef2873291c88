package io.portllm.io.internal.adapter;

import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.adapter.kind.AdapterTensors;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** The tensors of an adapter by what they mean; modules and weights by their name in the base. */
final class SortedTensors {
  final Path file;
  final AdapterConfig config;
  final ModelVersion tensors;
  /** The tensors of a kind other than LoRA, or the factors of LoRA on parameters. */
  final AdapterTensors parts;

  final Map<String, Tensor> as = new TreeMap<>();
  final Map<String, Tensor> bs = new TreeMap<>();
  final Map<String, Tensor> embeddingAs = new TreeMap<>();
  final Map<String, Tensor> embeddingBs = new TreeMap<>();
  final Map<String, Tensor> loraBiases = new TreeMap<>();
  final Map<String, Tensor> magnitudes = new TreeMap<>();
  final Map<String, Tensor> tokenRows = new TreeMap<>();
  /** Weights saved whole because they were trained. */
  final Map<String, Tensor> saved = new TreeMap<>();
  /** Copies of weights that PEFT saves beside the factors, trained or not. */
  final Map<String, Tensor> copies = new TreeMap<>();

  SortedTensors(Path file, AdapterConfig config, ModelVersion tensors) {
    this.file = file;
    this.config = config;
    this.tensors = tensors;
    this.parts = new AdapterTensors(file, config);
  }

  /** Every weight that is stored whole. */
  Map<String, Tensor> whole() {
    Map<String, Tensor> whole = new TreeMap<>(saved);
    whole.putAll(copies);
    return whole;
  }

  MalformedModelException unknown(TensorInfo info, String why) {
    return malformed("AD-TARGET", "tensor " + Names.quote(info.name()) + " is not understood: it " + why);
  }

  MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
