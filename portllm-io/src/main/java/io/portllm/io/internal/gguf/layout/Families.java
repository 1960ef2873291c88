package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The architectures that are mapped. A table has a line for each GGUF tensor: its name, the Hugging Face tensor's name, and how the one is
 * made of the other ({@link Rule} knows the words; none means: as it is). To add an architecture, add it here and to
 * {@code tools/golden_gguf_layouts.py}, which makes a model of it and has llama.cpp convert it.
 *
 * <p>Names and transforms are those of llama.cpp's converter ({@code conversion/*.py}) and gguf-py's {@code tensor_mapping.py}.
 */
final class Families {
  private static final String ENDS = """
      token_embd                model.embed_tokens
      output                    lm_head
      """;

  private static final String OUTPUT_NORM = """
      output_norm               model.norm
      """;

  private static final String HEADS = """
      blk.#.attn_q              model.layers.#.self_attn.q_proj
      blk.#.attn_k              model.layers.#.self_attn.k_proj
      blk.#.attn_v              model.layers.#.self_attn.v_proj
      """;

  private static final String ROTARY_HEADS = """
      blk.#.attn_q              model.layers.#.self_attn.q_proj                        rotary-q
      blk.#.attn_k              model.layers.#.self_attn.k_proj                        rotary-k
      blk.#.attn_v              model.layers.#.self_attn.v_proj
      """;

  private static final String OUT = """
      blk.#.attn_output         model.layers.#.self_attn.o_proj
      """;

  private static final String HEAD_NORMS = """
      blk.#.attn_q_norm         model.layers.#.self_attn.q_norm
      blk.#.attn_k_norm         model.layers.#.self_attn.k_norm
      """;

  private static final String NORMS = """
      blk.#.attn_norm           model.layers.#.input_layernorm
      blk.#.ffn_norm            model.layers.#.post_attention_layernorm
      """;

  private static final String POST_NORMS = """
      blk.#.post_attention_norm model.layers.#.post_attention_layernorm
      blk.#.post_ffw_norm       model.layers.#.post_feedforward_layernorm
      """;

  private static final String UP_DOWN = """
      blk.#.ffn_up              model.layers.#.mlp.up_proj
      blk.#.ffn_down            model.layers.#.mlp.down_proj
      """;

  private static final String MLP = UP_DOWN + """
      blk.#.ffn_gate            model.layers.#.mlp.gate_proj
      """;

  private static final String ROUTER = """
      blk.#.ffn_gate_inp        model.layers.#.mlp.gate
      """;

  private static final String EXPERTS = """
      blk.#.ffn_gate_exps       model.layers.#.mlp.experts.@.gate_proj                 experts
      blk.#.ffn_up_exps         model.layers.#.mlp.experts.@.up_proj                   experts
      blk.#.ffn_down_exps       model.layers.#.mlp.experts.@.down_proj                 experts
      """;

  private static final String FUSED_EXPERTS = """
      blk.#.ffn_gate_exps       model.layers.#.mlp.experts.gate_up_proj                half-1 bare
      blk.#.ffn_up_exps         model.layers.#.mlp.experts.gate_up_proj                half-2 bare
      blk.#.ffn_down_exps       model.layers.#.mlp.experts.down_proj                   bare
      """;

  private static final String BLOCK_SPARSE = """
      blk.#.ffn_gate_inp        model.layers.#.block_sparse_moe.gate
      blk.#.ffn_gate_exps       model.layers.#.block_sparse_moe.experts.@.w1           experts
      blk.#.ffn_up_exps         model.layers.#.block_sparse_moe.experts.@.w3           experts
      blk.#.ffn_down_exps       model.layers.#.block_sparse_moe.experts.@.w2           experts
      blk.#.ffn_gate.@          model.layers.#.block_sparse_moe.experts.@.w1           rare
      blk.#.ffn_up.@            model.layers.#.block_sparse_moe.experts.@.w3           rare
      blk.#.ffn_down.@          model.layers.#.block_sparse_moe.experts.@.w2           rare
      """;

  private static final String SHARED_EXPERT = """
      blk.#.ffn_gate_inp_shexp  model.layers.#.mlp.shared_expert_gate                  one-row
      blk.#.ffn_gate_shexp      model.layers.#.mlp.shared_expert.gate_proj
      blk.#.ffn_up_shexp        model.layers.#.mlp.shared_expert.up_proj
      blk.#.ffn_down_shexp      model.layers.#.mlp.shared_expert.down_proj
      """;

  private static final String GRANITE_EXPERTS = """
      blk.#.ffn_gate_inp        model.layers.#.block_sparse_moe.router.layer
      blk.#.ffn_gate_exps       model.layers.#.block_sparse_moe.input_linear           half-1
      blk.#.ffn_up_exps         model.layers.#.block_sparse_moe.input_linear           half-2
      blk.#.ffn_down_exps       model.layers.#.block_sparse_moe.output_linear
      blk.#.ffn_gate_shexp      model.layers.#.shared_mlp.input_linear                 half-1
      blk.#.ffn_up_shexp        model.layers.#.shared_mlp.input_linear                 half-2
      blk.#.ffn_down_shexp      model.layers.#.shared_mlp.output_linear
      """;

  private static final String GPT2 = """
      token_embd                transformer.wte
      position_embd             transformer.wpe
      output                    lm_head
      output_norm               transformer.ln_f
      blk.#.attn_norm           transformer.h.#.ln_1
      blk.#.ffn_norm            transformer.h.#.ln_2
      """;

  private static final String FALCON = """
      token_embd                transformer.word_embeddings
      output                    lm_head
      output_norm               transformer.ln_f
      blk.#.attn_qkv            transformer.h.#.self_attention.query_key_value         regrouped
      blk.#.attn_output         transformer.h.#.self_attention.dense
      blk.#.ffn_up              transformer.h.#.mlp.dense_h_to_4h
      blk.#.ffn_down            transformer.h.#.mlp.dense_4h_to_h
      """;

  private static final List<Family> ALL = ImmutableList.of(
      Family.of("llama", "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "LlamaModel")
          .with(ENDS, OUTPUT_NORM, ROTARY_HEADS, OUT, NORMS, MLP)
          .withEither(BLOCK_SPARSE, ROUTER + FUSED_EXPERTS).build(),
      Family.of("arcee", "ArceeForCausalLM").with(ENDS, OUTPUT_NORM, ROTARY_HEADS, OUT, NORMS, UP_DOWN).build(),
      Family.of("smollm3", "SmolLM3ForCausalLM").with(ENDS, OUTPUT_NORM, ROTARY_HEADS, OUT, NORMS, MLP).build(),
      Family.of("granite", "GraniteForCausalLM").with(ENDS, OUTPUT_NORM, ROTARY_HEADS, OUT, NORMS, MLP).build(),
      Family.of("granitemoe", "GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM")
          .with(ENDS, OUTPUT_NORM, ROTARY_HEADS, OUT, NORMS, GRANITE_EXPERTS).build(),
      Family.of("qwen2", "Qwen2ForCausalLM", "Qwen2Model").with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, MLP).build(),
      Family.of("qwen2moe", "Qwen2MoeForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, MLP, ROUTER, SHARED_EXPERT)
          .withEither(EXPERTS, FUSED_EXPERTS).build(),
      Family.of("qwen3", "Qwen3ForCausalLM", "Qwen3Model").with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, NORMS, MLP).build(),
      Family.of("qwen3moe", "Qwen3MoeForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, NORMS, MLP, ROUTER)
          .withEither(EXPERTS, FUSED_EXPERTS).build(),
      Family.of("gemma", "GemmaForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, MLP).shiftedNorms().ignoring("lm_head.weight").build(),
      Family.of("gemma2", "Gemma2ForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, OUT, POST_NORMS, MLP, """
              blk.#.attn_norm   model.layers.#.input_layernorm
              blk.#.ffn_norm    model.layers.#.pre_feedforward_layernorm
              """).shiftedNorms().ignoring("lm_head.weight").build(),
      Family.of("gemma3", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
          .with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, POST_NORMS, MLP, """
              blk.#.attn_norm   model.layers.#.input_layernorm
              blk.#.ffn_norm    model.layers.#.pre_feedforward_layernorm
              """).shiftedNorms().cutting("model.embed_tokens.weight").ignoring("*lm_head.weight").build(),
      Family.of("nemotron", "NemotronForCausalLM").with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, UP_DOWN).shiftedNorms().build(),
      Family.of("phi2", "PhiForCausalLM").with(ENDS, HEADS, """
          output_norm           model.final_layernorm
          blk.#.attn_norm       model.layers.#.input_layernorm
          blk.#.attn_output     model.layers.#.self_attn.dense
          blk.#.ffn_up          model.layers.#.mlp.fc1
          blk.#.ffn_down        model.layers.#.mlp.fc2
          """).build(),
      Family.of("phi3", "Phi3ForCausalLM").with(ENDS, OUTPUT_NORM, OUT, NORMS, """
          blk.#.attn_qkv        model.layers.#.self_attn.qkv_proj
          blk.#.ffn_up          model.layers.#.mlp.gate_up_proj
          blk.#.ffn_down        model.layers.#.mlp.down_proj
          """).build(),
      Family.of("phimoe", "PhiMoEForCausalLM", "PhimoeForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS).withEither(BLOCK_SPARSE, ROUTER + FUSED_EXPERTS).build(),
      Family.of("gpt2", "GPT2LMHeadModel").with(GPT2, """
          blk.#.attn_qkv        transformer.h.#.attn.c_attn                            transposed
          blk.#.attn_output     transformer.h.#.attn.c_proj                            transposed
          blk.#.ffn_up          transformer.h.#.mlp.c_fc                               transposed
          blk.#.ffn_down        transformer.h.#.mlp.c_proj                             transposed
          """).ignoring("*.attn.bias", "*.attn.masked_bias").build(),
      Family.of("starcoder", "GPTBigCodeForCausalLM").with(GPT2, """
          blk.#.attn_qkv        transformer.h.#.attn.c_attn
          blk.#.attn_output     transformer.h.#.attn.c_proj
          blk.#.ffn_up          transformer.h.#.mlp.c_fc
          blk.#.ffn_down        transformer.h.#.mlp.c_proj
          """).ignoring("*.attn.bias", "*.attn.masked_bias").build(),
      Family.of("starcoder2", "Starcoder2ForCausalLM").with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, """
          blk.#.ffn_up          model.layers.#.mlp.c_fc
          blk.#.ffn_down        model.layers.#.mlp.c_proj
          """).build(),
      Family.of("stablelm", "StableLmForCausalLM").with(ENDS, OUTPUT_NORM, HEADS, OUT, NORMS, MLP, """
          blk.#.attn_q_norm     model.layers.#.self_attn.q_layernorm.norms.@           vectors
          blk.#.attn_k_norm     model.layers.#.self_attn.k_layernorm.norms.@           vectors
          """).build(),
      Family.of("olmo", "OlmoForCausalLM").with(ENDS, ROTARY_HEADS, OUT, MLP).build(),
      Family.of("olmo2", "Olmo2ForCausalLM", "Olmo3ForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, POST_NORMS, MLP).build(),
      Family.of("olmoe", "OlmoeForCausalLM")
          .with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, NORMS, ROUTER).withEither(EXPERTS, FUSED_EXPERTS).build(),
      Family.of("command-r", "CohereForCausalLM").with(ENDS, OUTPUT_NORM, HEADS, HEAD_NORMS, OUT, MLP, """
          blk.#.attn_norm       model.layers.#.input_layernorm
          """).build(),
      Family.of("cohere2", "Cohere2ForCausalLM").with(ENDS, OUTPUT_NORM, HEADS, OUT, MLP, """
          blk.#.attn_norm       model.layers.#.input_layernorm
          """).build(),
      Family.of("internlm2", "InternLM2ForCausalLM").with(OUTPUT_NORM, """
          token_embd            model.tok_embeddings
          output                output
          blk.#.attn_norm       model.layers.#.attention_norm
          blk.#.ffn_norm        model.layers.#.ffn_norm
          blk.#.attn_q          model.layers.#.attention.wqkv                          group-q
          blk.#.attn_k          model.layers.#.attention.wqkv                          group-k
          blk.#.attn_v          model.layers.#.attention.wqkv                          group-v
          blk.#.attn_output     model.layers.#.attention.wo
          blk.#.ffn_gate        model.layers.#.feed_forward.w1
          blk.#.ffn_up          model.layers.#.feed_forward.w3
          blk.#.ffn_down        model.layers.#.feed_forward.w2
          """).build(),
      Family.of("falcon", "FalconForCausalLM", "RWForCausalLM").with(FALCON)
          .withEither("""
              blk.#.attn_norm   transformer.h.#.input_layernorm
              """, """
              blk.#.attn_norm   transformer.h.#.ln_mlp
              blk.#.attn_norm_2 transformer.h.#.ln_attn
              """).build(),
      Family.of("bloom", "BloomForCausalLM", "BloomModel").with("""
          token_embd            transformer.word_embeddings
          token_embd_norm       transformer.word_embeddings_layernorm
          output                lm_head
          output_norm           transformer.ln_f
          blk.#.attn_norm       transformer.h.#.input_layernorm
          blk.#.attn_qkv        transformer.h.#.self_attention.query_key_value         regrouped-heads
          blk.#.attn_output     transformer.h.#.self_attention.dense
          blk.#.ffn_norm        transformer.h.#.post_attention_layernorm
          blk.#.ffn_up          transformer.h.#.mlp.dense_h_to_4h
          blk.#.ffn_down        transformer.h.#.mlp.dense_4h_to_h
          """).build(),
      Family.of("gptneox", "GPTNeoXForCausalLM").with("""
          token_embd            gpt_neox.embed_in
          output                embed_out
          output_norm           gpt_neox.final_layer_norm
          blk.#.attn_norm       gpt_neox.layers.#.input_layernorm
          blk.#.attn_qkv        gpt_neox.layers.#.attention.query_key_value            regrouped-heads
          blk.#.attn_output     gpt_neox.layers.#.attention.dense
          blk.#.ffn_norm        gpt_neox.layers.#.post_attention_layernorm
          blk.#.ffn_up          gpt_neox.layers.#.mlp.dense_h_to_4h
          blk.#.ffn_down        gpt_neox.layers.#.mlp.dense_4h_to_h
          """).build());

  private static final Map<String, Family> BY_ARCHITECTURE =
      ALL.stream().collect(ImmutableMap.toImmutableMap(Family::architecture, family -> family));

  private Families() {}

  /** The architectures that are mapped. */
  static List<Family> all() {
    return ALL;
  }

  /** The architecture that GGUF names so. */
  static Optional<Family> named(String architecture) {
    return Optional.ofNullable(BY_ARCHITECTURE.get(architecture));
  }

  /** The architecture that checkpoints of this class of transformers become. */
  static Optional<Family> ofClass(String name) {
    return ALL.stream().filter(family -> family.classes().contains(name)).findFirst();
  }
}
