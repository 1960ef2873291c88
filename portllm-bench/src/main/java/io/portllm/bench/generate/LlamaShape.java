package io.portllm.bench.generate;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The sizes of a Llama model with untied embeddings.
 *
 * @param label what the command calls it
 * @param hidden the width of the residual stream
 * @param layers how many
 * @param intermediate the width within the feed-forward blocks
 * @param heads attention heads
 * @param keyValueHeads heads of keys and values
 */
public record LlamaShape(String label, int hidden, int layers, int intermediate, int heads, int keyValueHeads) {
  private static final int VOCABULARY = 32000;

  /** 7b has Llama 2's sizes, 6,738,415,616 weights, and 1.1b TinyLlama's: 1,100,048,384. The others have 124 and 11 million. */
  private static final List<LlamaShape> KNOWN = List.of(
      new LlamaShape("7b", 4096, 32, 11008, 32, 32),
      new LlamaShape("1.1b", 2048, 22, 5632, 32, 4),
      new LlamaShape("0.1b", 768, 12, 2048, 12, 4),
      new LlamaShape("0.01b", 160, 4, 416, 5, 1));

  private static final Map<String, String> GGUF_NAMES =
      ImmutableMap.<String, String>builder()
          .put("model.layers.", "blk.")
          .put("self_attn.q_proj", "attn_q")
          .put("self_attn.k_proj", "attn_k")
          .put("self_attn.v_proj", "attn_v")
          .put("self_attn.o_proj", "attn_output")
          .put("mlp.gate_proj", "ffn_gate")
          .put("mlp.up_proj", "ffn_up")
          .put("mlp.down_proj", "ffn_down")
          .put("input_layernorm", "attn_norm")
          .put("post_attention_layernorm", "ffn_norm")
          .put("model.embed_tokens", "token_embd")
          .put("model.norm", "output_norm")
          .put("lm_head", "output")
          .buildOrThrow();

  static LlamaShape named(String label) {
    return KNOWN.stream().filter(shape -> shape.label.equals(label)).findFirst().orElseThrow(() -> new IllegalArgumentException(
        "weights must be one of " + KNOWN.stream().map(LlamaShape::label).collect(Collectors.joining(", ")) + " but was " + label));
  }

  /** The tensors in the order of the forward pass. */
  List<TensorInfo> tensors(DType type) {
    ImmutableList.Builder<TensorInfo> tensors = ImmutableList.builder();
    tensors.add(new TensorInfo("model.embed_tokens.weight", type, Shape.of(VOCABULARY, hidden)));
    for (int layer = 0; layer < layers; layer++) {
      String prefix = "model.layers." + layer + ".";
      tensors.add(new TensorInfo(prefix + "input_layernorm.weight", type, Shape.of(hidden)));
      projections(layer).map(p -> new TensorInfo(p.module() + ".weight", type, Shape.of(p.out(), p.in()))).forEach(tensors::add);
      tensors.add(new TensorInfo(prefix + "post_attention_layernorm.weight", type, Shape.of(hidden)));
    }
    tensors.add(new TensorInfo("model.norm.weight", type, Shape.of(hidden)));
    tensors.add(new TensorInfo("lm_head.weight", type, Shape.of(VOCABULARY, hidden)));
    return tensors.build();
  }

  /** The factors of a LoRA adapter of all projections, named as PEFT names them. */
  List<TensorInfo> factors(int rank, DType type) {
    ImmutableList.Builder<TensorInfo> tensors = ImmutableList.builder();
    for (int layer = 0; layer < layers; layer++) {
      projections(layer).forEach(p -> {
        tensors.add(new TensorInfo("base_model.model." + p.module() + ".lora_A.weight", type, Shape.of(rank, p.in())));
        tensors.add(new TensorInfo("base_model.model." + p.module() + ".lora_B.weight", type, Shape.of(p.out(), rank)));
      });
    }
    return tensors.build();
  }

  /** The model's {@code config.json}. */
  String config(DType type) {
    return """
        {
          "architectures": ["LlamaForCausalLM"],
          "dtype": "%s",
          "hidden_act": "silu",
          "hidden_size": %d,
          "intermediate_size": %d,
          "max_position_embeddings": 2048,
          "model_type": "llama",
          "num_attention_heads": %d,
          "num_hidden_layers": %d,
          "num_key_value_heads": %d,
          "rms_norm_eps": 1e-05,
          "tie_word_embeddings": false,
          "vocab_size": %d
        }
        """.formatted(type == DType.F32 ? "float32" : "bfloat16", hidden, intermediate, heads, layers, keyValueHeads, VOCABULARY);
  }

  /** The same model as a GGUF file with matrices of {@code type}, without a vocabulary. */
  GgufFile gguf(DType type) {
    GgufFile file =
        new GgufFile()
            .key("general.architecture", "llama")
            .key("llama.block_count", layers)
            .key("llama.context_length", 2048)
            .key("llama.embedding_length", hidden)
            .key("llama.feed_forward_length", intermediate)
            .key("llama.attention.head_count", heads)
            .key("llama.attention.head_count_kv", keyValueHeads)
            .key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (TensorInfo tensor : tensors(type)) {
      DType stored = tensor.shape().rank() == 1 ? DType.F32 : type;
      file.tensor(new TensorInfo(ggufName(tensor.name()), stored, tensor.shape()));
    }
    return file;
  }

  /** What llama.cpp calls the tensor {@code name} of a Llama checkpoint. */
  public static String ggufName(String name) {
    String renamed = name;
    for (Map.Entry<String, String> entry : GGUF_NAMES.entrySet()) {
      renamed = renamed.replace(entry.getKey(), entry.getValue());
    }
    return renamed;
  }

  /** The {@code adapter_config.json} of such an adapter. */
  static String adapterConfig(int rank) {
    return """
        {
          "base_model_name_or_path": "base",
          "bias": "none",
          "fan_in_fan_out": false,
          "inference_mode": true,
          "lora_alpha": %d,
          "peft_type": "LORA",
          "r": %d,
          "target_modules": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
          "task_type": "CAUSAL_LM",
          "use_dora": false,
          "use_rslora": false
        }
        """.formatted(2 * rank, rank);
  }

  private Stream<Projection> projections(int layer) {
    String prefix = "model.layers." + layer + ".";
    int keyValues = hidden / heads * keyValueHeads;
    return Stream.of(
        new Projection(prefix + "self_attn.q_proj", hidden, hidden),
        new Projection(prefix + "self_attn.k_proj", keyValues, hidden),
        new Projection(prefix + "self_attn.v_proj", keyValues, hidden),
        new Projection(prefix + "self_attn.o_proj", hidden, hidden),
        new Projection(prefix + "mlp.gate_proj", intermediate, hidden),
        new Projection(prefix + "mlp.up_proj", intermediate, hidden),
        new Projection(prefix + "mlp.down_proj", hidden, intermediate));
  }

  private record Projection(String module, int out, int in) {}
}
