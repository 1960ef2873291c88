package io.portllm.bench.llamacpp;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.bench.generate.GgufFile;
import io.portllm.bench.generate.LlamaShape;
import io.portllm.internal.kernel.Floats;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Makes GGUF files of the lab's models as llama.cpp's converter makes them of Llama checkpoints, for bases to port onto: names, rows of queries and
 * keys interleaved, norms in F32, the vocabulary in the metadata. It knows nothing of the library's own knowledge of that.
 */
final class LabGguf {
  private LabGguf() {}

  /** Writes {@code folder}'s model with matrices of {@code type}. */
  static Path write(Path folder, DType type, Path file) throws IOException {
    JsonNode config = new ObjectMapper().readTree(folder.resolve("config.json").toFile());
    GgufFile gguf = metadata(config, type);
    vocabulary(gguf, new ObjectMapper().readTree(folder.resolve("tokenizer.json").toFile()), config.get("vocab_size").asInt());
    Map<String, float[]> data = new HashMap<>();
    try (ModelVersion model = Checkpoints.open(folder)) {
      for (TensorInfo tensor : model.tensors()) {
        String name = LlamaShape.ggufName(tensor.name());
        gguf.tensor(new TensorInfo(name, tensor.shape().rank() == 1 ? DType.F32 : type, tensor.shape()));
        float[] values = values(model, tensor);
        if (name.endsWith("attn_q.weight")) {
          values = interleaved(values, tensor, config.get("num_attention_heads").asInt());
        } else if (name.endsWith("attn_k.weight")) {
          values = interleaved(values, tensor, config.get("num_key_value_heads").asInt());
        }
        data.put(name, values);
      }
    }
    gguf.write(file, (tensor, first, values) -> System.arraycopy(data.get(tensor.name()), (int) first, values, 0, values.length));
    return file;
  }

  private static GgufFile metadata(JsonNode config, DType type) {
    return new GgufFile()
        .key("general.architecture", "llama")
        .key("general.name", "lab")
        .key("general.file_type", GgufFile.number(type))
        .key("llama.block_count", config.get("num_hidden_layers").asInt())
        .key("llama.context_length", config.get("max_position_embeddings").asInt())
        .key("llama.embedding_length", config.get("hidden_size").asInt())
        .key("llama.feed_forward_length", config.get("intermediate_size").asInt())
        .key("llama.attention.head_count", config.get("num_attention_heads").asInt())
        .key("llama.attention.head_count_kv", config.get("num_key_value_heads").asInt())
        .key("llama.attention.layer_norm_rms_epsilon", (float) config.get("rms_norm_eps").asDouble())
        .key("llama.rope.freq_base", (float) config.at("/rope_parameters/rope_theta").asDouble())
        .key("llama.rope.dimension_count", config.get("head_dim").asInt())
        .key("llama.vocab_size", config.get("vocab_size").asInt());
  }

  private static void vocabulary(GgufFile gguf, JsonNode tokenizer, int size) {
    List<String> tokens = new ArrayList<>();
    List<Integer> types = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      tokens.add("[PAD" + i + "]");
      // Unused.
      types.add(5);
    }
    tokenizer.at("/model/vocab").properties().forEach(
        token -> {
          int row = token.getValue().asInt();
          tokens.set(row, token.getKey());
          // The first two are control tokens, the others normal ones.
          types.set(row, row < 2 ? 3 : 1);
        });
    gguf.key("tokenizer.ggml.model", "gpt2")
        .key("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", tokens)
        .integers("tokenizer.ggml.token_type", types)
        .strings("tokenizer.ggml.merges", List.of())
        .key("tokenizer.ggml.bos_token_id", 0)
        .key("tokenizer.ggml.eos_token_id", 1)
        .key("tokenizer.ggml.add_bos_token", true);
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
}
