package io.portllm.bench.llamacpp;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Makes GGUF files of the lab's models as llama.cpp's converter makes them of Llama checkpoints, for bases to port onto: names, rows of queries and
 * keys interleaved, norms in F32, the vocabulary in the metadata. It knows nothing of the library's own knowledge of that.
 */
final class LabGguf {
  private static final int ALIGNMENT = 32;
  private static final Map<String, String> NAMES =
      Map.of(
          "self_attn.q_proj", "attn_q",
          "self_attn.k_proj", "attn_k",
          "self_attn.v_proj", "attn_v",
          "self_attn.o_proj", "attn_output",
          "mlp.gate_proj", "ffn_gate",
          "mlp.up_proj", "ffn_up",
          "mlp.down_proj", "ffn_down",
          "input_layernorm", "attn_norm",
          "post_attention_layernorm", "ffn_norm");

  /** Numbers of types in GGUF files. */
  private static final Map<DType, Integer> TYPES = Map.of(DType.F32, 0, DType.F16, 1, DType.Q4_0, 2, DType.Q5_1, 7, DType.Q8_0, 8, DType.BF16, 30);

  private final ByteBuffer out = ByteBuffer.allocate(16 << 20).order(ByteOrder.LITTLE_ENDIAN);
  private int keys;

  private LabGguf() {}

  /** Writes {@code folder}'s model with matrices of {@code type}. */
  static Path write(Path folder, DType type, Path file) throws IOException {
    try (ModelVersion model = Checkpoints.open(folder)) {
      byte[] metadata = new LabGguf().metadata(folder, type);
      new LabGguf().write(model, metadata, type, file);
    }
    return file;
  }

  /** The keys and values, preceded by their number. */
  private byte[] metadata(Path folder, DType type) throws IOException {
    JsonNode config = new ObjectMapper().readTree(folder.resolve("config.json").toFile());
    out.putLong(0);
    key("general.architecture", "llama");
    key("general.name", "lab");
    key("general.file_type", TYPES.get(type));
    key("llama.block_count", config.get("num_hidden_layers").asInt());
    key("llama.context_length", config.get("max_position_embeddings").asInt());
    key("llama.embedding_length", config.get("hidden_size").asInt());
    key("llama.feed_forward_length", config.get("intermediate_size").asInt());
    key("llama.attention.head_count", config.get("num_attention_heads").asInt());
    key("llama.attention.head_count_kv", config.get("num_key_value_heads").asInt());
    key("llama.attention.layer_norm_rms_epsilon", (float) config.get("rms_norm_eps").asDouble());
    key("llama.rope.freq_base", (float) config.at("/rope_parameters/rope_theta").asDouble());
    key("llama.rope.dimension_count", config.get("head_dim").asInt());
    key("llama.vocab_size", config.get("vocab_size").asInt());
    vocabulary(new ObjectMapper().readTree(folder.resolve("tokenizer.json").toFile()), config.get("vocab_size").asInt());
    out.putLong(0, keys);
    byte[] bytes = new byte[out.position()];
    out.get(0, bytes);
    return bytes;
  }

  private void vocabulary(JsonNode tokenizer, int size) {
    String[] tokens = new String[size];
    for (int i = 0; i < size; i++) {
      tokens[i] = "[PAD" + i + "]";
    }
    tokenizer.at("/model/vocab").properties().forEach(token -> tokens[token.getValue().asInt()] = token.getKey());
    key("tokenizer.ggml.model", "gpt2");
    key("tokenizer.ggml.pre", "gpt-2");
    array("tokenizer.ggml.tokens", 8, size);
    for (String token : tokens) {
      string(token);
    }
    array("tokenizer.ggml.token_type", 5, size);
    for (int i = 0; i < size; i++) {
      // 3: control, 1: normal, 5: unused.
      out.putInt(i < 2 ? 3 : tokens[i].startsWith("[PAD") ? 5 : 1);
    }
    array("tokenizer.ggml.merges", 8, 0);
    key("tokenizer.ggml.bos_token_id", 0);
    key("tokenizer.ggml.eos_token_id", 1);
    name("tokenizer.ggml.add_bos_token", 7);
    out.put((byte) 1);
  }

  private void key(String key, String value) {
    name(key, 8);
    string(value);
  }

  private void key(String key, int value) {
    name(key, 4);
    out.putInt(value);
  }

  private void key(String key, float value) {
    name(key, 6);
    out.putFloat(value);
  }

  private void array(String key, int elements, int count) {
    name(key, 9);
    out.putInt(elements).putLong(count);
  }

  private void name(String key, int type) {
    string(key);
    out.putInt(type);
    keys++;
  }

  private void string(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.putLong(bytes.length).put(bytes);
  }

  private void write(ModelVersion model, byte[] metadata, DType type, Path file) throws IOException {
    int heads = Integer.parseInt(model.config().get("num_attention_heads"));
    int keyValueHeads = Integer.parseInt(model.config().get("num_key_value_heads"));
    List<byte[]> data = new ArrayList<>();
    Map<String, TensorInfo> infos = new LinkedHashMap<>();
    for (TensorInfo tensor : model.tensors()) {
      float[] values = values(model, tensor);
      if (tensor.name().endsWith("q_proj.weight") || tensor.name().endsWith("k_proj.weight")) {
        values = interleaved(values, tensor, tensor.name().endsWith("q_proj.weight") ? heads : keyValueHeads);
      }
      DType stored = tensor.shape().rank() == 1 ? DType.F32 : type;
      infos.put(name(tensor.name()), new TensorInfo(name(tensor.name()), stored, tensor.shape()));
      data.add(encoded(values, stored));
    }
    out.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(3).putLong(infos.size()).put(metadata);
    long offset = 0;
    for (TensorInfo info : infos.values()) {
      string(info.name());
      out.putInt(info.shape().rank());
      for (int i = info.shape().rank() - 1; i >= 0; i--) {
        out.putLong(info.shape().dimension(i));
      }
      out.putInt(TYPES.get(info.dtype())).putLong(offset);
      offset += padded(info.bytes());
    }
    out.position((int) padded(out.position()));
    for (byte[] bytes : data) {
      out.put(bytes);
      out.position((int) padded(out.position()));
    }
    byte[] all = new byte[out.position()];
    out.get(0, all);
    Files.write(file, all);
  }

  private static long padded(long bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  private static String name(String name) {
    if (!name.startsWith("model.layers.")) {
      return name.replace("model.embed_tokens", "token_embd").replace("model.norm", "output_norm").replace("lm_head", "output");
    }
    String[] parts = name.substring("model.layers.".length()).split("\\.", 2);
    return "blk." + parts[0] + "." + NAMES.get(parts[1].replace(".weight", "")) + ".weight";
  }

  private static float[] values(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    model.read(tensor, 0, bytes);
    float[] values = new float[(int) tensor.elements()];
    Floats.read(tensor.dtype(), bytes, 0, values, values.length, new int[values.length]);
    return values;
  }

  /** The rows of each head: first, middle, second, one after the middle, …. */
  private static float[] interleaved(float[] values, TensorInfo tensor, int heads) {
    int rows = (int) tensor.shape().dimension(0);
    int columns = (int) tensor.shape().dimension(1);
    int head = rows / heads;
    float[] result = new float[values.length];
    for (int row = 0; row < rows; row++) {
      int inHead = row % head;
      int from = row - inHead + inHead % 2 * (head / 2) + inHead / 2;
      System.arraycopy(values, from * columns, result, row * columns, columns);
    }
    return result;
  }

  private static byte[] encoded(float[] values, DType type) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    if (type.isQuantised()) {
      BlockCodecs.of(type).quantise(values, 0, values.length, bytes, 0);
    } else {
      Floats.write(type, values, bytes, 0, values.length, new int[values.length]);
    }
    return bytes.array();
  }
}
