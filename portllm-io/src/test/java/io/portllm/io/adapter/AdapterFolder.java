package io.portllm.io.adapter;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.DType;
import io.portllm.io.write.TestModel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** An adapter folder in the making; a plain LoRA of rank 4 and alpha 8 unless a test says otherwise. */
final class AdapterFolder {
  static final String Q = "base_model.model.model.layers.0.self_attn.q_proj";

  private final ObjectMapper json = new ObjectMapper();
  private final ObjectNode config = json.createObjectNode();
  private final TestModel tensors = new TestModel("adapter").shard("adapter_model.safetensors", Map.of("format", "pt"));

  AdapterFolder() {
    set("peft_type", "\"LORA\"").set("r", "4").set("lora_alpha", "8").set("bias", "\"none\"").set("fan_in_fan_out", "false");
  }

  /** The base that the adapters of these tests fit. */
  static TestModel base() {
    return new TestModel("base")
        .random("model.embed_tokens.weight", DType.F32, 11, 1, 20, 6)
        .random("model.layers.0.self_attn.q_proj.weight", DType.F32, 12, 1, 8, 6)
        .random("model.layers.0.self_attn.q_proj.bias", DType.F32, 13, 1, 8)
        .random("model.layers.0.c_attn.weight", DType.F32, 14, 1, 6, 18)
        .random("model.layers.0.conv.weight", DType.F32, 15, 1, 8, 3, 2, 2)
        .random("model.norm.weight", DType.F32, 16, 1, 6)
        .random("lm_head.weight", DType.F32, 17, 1, 20, 6)
        .config("tie_word_embeddings", "false");
  }

  /** A field of the configuration, its value as JSON. */
  AdapterFolder set(String field, String value) {
    try {
      config.set(field, json.readTree(value));
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  AdapterFolder without(String field) {
    config.remove(field);
    return this;
  }

  AdapterFolder tensor(String name, long seed, long... shape) {
    tensors.random(name, DType.F32, seed, 0.1, shape);
    return this;
  }

  AdapterFolder tensor(String name, DType type, byte[] bytes, long... shape) {
    tensors.tensor(name, type, bytes, shape);
    return this;
  }

  /** Factors of rank 4 for a linear layer. */
  AdapterFolder factors(String module, long out, long in) {
    return tensor(module + ".lora_A.weight", module.hashCode(), 4, in).tensor(module + ".lora_B.weight", module.hashCode() + 1, out, 4);
  }

  /** Factors of rank 4 for the layer of the base that all of these tests know. */
  AdapterFolder factors() {
    return factors(Q, 8, 6);
  }

  byte[] bytes(String tensor) {
    return tensors.bytes(tensor);
  }

  TestModel tensors() {
    return tensors;
  }

  Path saveTo(Path folder) {
    try {
      Files.createDirectories(folder);
      Files.writeString(folder.resolve("adapter_config.json"), config.toString());
      tensors.saveFile(folder.resolve("adapter_model.safetensors"));
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
