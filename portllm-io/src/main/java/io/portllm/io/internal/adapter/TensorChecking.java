package io.portllm.io.internal.adapter;

import io.portllm.BasePolicy;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.kind.AdapterBase;
import io.portllm.io.internal.adapter.kind.ParameterLora;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.TreeMap;

/** Checks that the tensors of an adapter are complete, fit each other and the configuration, and hold numbers only. */
final class TensorChecking {
  private final SortedTensors sorted;

  private TensorChecking(SortedTensors sorted) {
    this.sorted = sorted;
  }

  /** Reads all values, to refuse NaN and infinity. */
  static void check(SortedTensors sorted) throws IOException {
    new TensorChecking(sorted).checkAll();
  }

  private void checkAll() throws IOException {
    sorted.config.fanInFanOut();
    if (sorted.config.kind().isEmpty()) {
      ParameterLora.check(sorted.parts);
    }
    checkPairs(sorted.as, sorted.bs, "lora_A", "lora_B");
    checkPairs(sorted.embeddingAs, sorted.embeddingBs, "lora_embedding_A", "lora_embedding_B");
    checkMagnitudes();
    for (Map.Entry<String, Tensor> bias : sorted.loraBiases.entrySet()) {
      if (!sorted.config.loraBias() || !sorted.bs.containsKey(bias.getKey())) {
        throw sorted.unknown(bias.getValue().info(), "is a bias of lora_B, which lora_bias does not switch on");
      }
    }
    if (!sorted.config.bias().equals("none") && sorted.saved.keySet().stream().noneMatch(name -> name.endsWith(".bias"))) {
      throw sorted.malformed("AD-BIAS", "holds no bias, although bias is " + sorted.config.bias());
    }
    checkSaved();
    checkTokenRows();
    checkOnce();
    for (TensorInfo info : sorted.tensors.tensors()) {
      if (info.dtype().isArithmetic()) {
        checkValues(info);
      }
    }
    if (sorted.config.kind().isPresent() && sorted.parts.modules().isEmpty() && sorted.saved.isEmpty() && sorted.tokenRows.isEmpty()) {
      throw sorted.malformed("AD-MODEL", "holds no tensor of its kind");
    }
    if (sorted.config.kind().isPresent() && sorted.config.kind().get().needsBase(sorted.parts).isEmpty()) {
      sorted.config.kind().get().deltas(sorted.parts, AdapterBase.none(BasePolicy.FREEZE));
    }
  }

  private void checkSaved() throws IOException {
    AdapterConfig config = sorted.config;
    boolean hasListedByTask = config.modulesToSave().stream().anyMatch(module -> config.isListedByTask(module) && hasSaved(module));
    for (String module : sorted.config.modulesToSave()) {
      if (!hasSaved(module) && !(sorted.config.isListedByTask(module) && hasListedByTask)) {
        throw sorted.malformed("AD-SAVE", "lacks module " + Names.quote(module) + ", which modules_to_save names");
      }
    }
  }

  private boolean hasSaved(String module) {
    return sorted.saved.keySet().stream().anyMatch(name -> name.contains(module + "."));
  }

  private void checkTokenRows() throws IOException {
    for (String module : sorted.config.tokenModules()) {
      if (sorted.tokenRows.keySet().stream().noneMatch(name -> AdapterConfig.isModule(name, module))) {
        throw sorted.malformed(
            "AD-TOKENS", "holds no trained token rows" + (module.isEmpty() ? "" : " of " + Names.quote(module))
                + ", which trainable_token_indices names");
      }
    }
    for (Map.Entry<String, Tensor> rows : sorted.tokenRows.entrySet()) {
      int indices = sorted.config.tokenIndices(rows.getKey()).size();
      Shape shape = rows.getValue().info().shape();
      if (shape.rank() != 2 || shape.rows() != indices) {
        throw sorted.malformed("AD-SHAPE", "tensor " + Names.quote(rows.getValue().info().name()) + " is " + shape + " but " + indices
            + " tokens are trained");
      }
    }
  }

  /** Of one weight there is one product, and either trained rows or the whole. */
  private void checkOnce() throws IOException {
    for (String module : sorted.as.keySet()) {
      if (sorted.embeddingAs.containsKey(module)) {
        throw sorted.malformed("AD-TARGET", "module " + Names.quote(module) + " has factors both of a linear layer and of an embedding");
      }
    }
    for (String module : sorted.tokenRows.keySet()) {
      if (sorted.saved.containsKey(module + ".weight") || sorted.copies.containsKey(module + ".weight")) {
        throw sorted.malformed("AD-TARGET", "module " + Names.quote(module) + " is stored both whole and as trained token rows");
      }
    }
    for (String name : sorted.saved.keySet()) {
      if (sorted.copies.containsKey(name)) {
        throw sorted.malformed("AD-TARGET", "weight " + Names.quote(name) + " is stored twice");
      }
    }
  }

  private void checkPairs(Map<String, Tensor> a, Map<String, Tensor> b, String aName, String bName) throws IOException {
    for (Map.Entry<String, Tensor> entry : b.entrySet()) {
      if (!a.containsKey(entry.getKey())) {
        throw sorted.malformed("AD-PAIR", "module " + Names.quote(entry.getKey()) + " has " + bName + " but no " + aName);
      }
    }
    for (Map.Entry<String, Tensor> entry : a.entrySet()) {
      String module = entry.getKey();
      if (!b.containsKey(module)) {
        throw sorted.malformed("AD-PAIR", "module " + Names.quote(module) + " has " + aName + " but no " + bName);
      }
      Shape aShape = entry.getValue().info().shape();
      Shape bShape = b.get(module).info().shape();
      if (aShape.rank() < 2 || bShape.rank() < 2 || aShape.elements() == 0 || bShape.elements() == 0 || bShape.columns() != aShape.rows()) {
        throw sorted.malformed(
            "AD-SHAPE",
            "module " + Names.quote(module) + " needs " + aName + " of rank x in and " + bName + " of out x rank but has " + aShape
                + " and " + bShape);
      }
      if (aShape.rows() != sorted.config.rank(module)) {
        throw sorted.malformed(
            "AD-RANK", "module " + Names.quote(module) + " has rank " + aShape.rows() + " but the configuration says "
                + sorted.config.rank(module));
      }
      sorted.config.scale(module);
    }
  }

  private void checkMagnitudes() throws IOException {
    Map<String, Tensor> factors = new TreeMap<>(sorted.bs);
    factors.putAll(sorted.embeddingBs);
    for (Map.Entry<String, Tensor> factor : factors.entrySet()) {
      String module = factor.getKey();
      Tensor magnitude = sorted.magnitudes.get(module);
      if (sorted.config.flag("use_dora") && magnitude == null) {
        throw sorted.malformed("AD-DORA", "module " + Names.quote(module) + " has no lora_magnitude_vector, although use_dora is true");
      }
      long outputs = factor.getValue().info().shape().rows();
      if (magnitude != null && magnitude.info().elements() != outputs) {
        throw sorted.malformed(
            "AD-SHAPE", "module " + Names.quote(module) + " has " + outputs + " outputs but a lora_magnitude_vector of "
                + magnitude.info().shape());
      }
    }
    for (String module : sorted.magnitudes.keySet()) {
      if (!factors.containsKey(module)) {
        throw sorted.malformed("AD-PAIR", "module " + Names.quote(module) + " has lora_magnitude_vector but no lora_B");
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
      sorted.tensors.read(info, first * size, bytes.clear().limit(count * size));
      Floats.read(info.dtype(), bytes, 0, values, count, scratch);
      for (int i = 0; i < count; i++) {
        if (!Float.isFinite(values[i])) {
          throw sorted.malformed("AD-VALUES", "tensor " + Names.quote(info.name()) + " is " + values[i] + " at element " + (first + i));
        }
      }
    }
  }
}
