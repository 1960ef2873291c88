"""Makes the golden file of GGUF layouts: how llama.cpp's converter makes GGUF tensors of Hugging Face tensors, for tiny models of each architecture.

Every element of a model is a number of its own (float32, exact), so the digest of a GGUF tensor tells which element went where. Models are
made by transformers with random weights that are then replaced by the numbers; what transformers does not know is written out here.
set_vocab of the converter is replaced, for the models have no tokenizer, and what loses StableLM's head norms; nothing else is changed.

usage: golden_gguf_layouts.py LLAMA_CPP OUTPUT.txt.gz
  LLAMA_CPP  a checkout of llama.cpp (made with commit 3f545be, transformers 5.18)
  OUTPUT     portllm-io/src/test/resources/golden/gguf-layouts.txt.gz

The file is text; elements of tensors are numbered in the order of the lines, from 0:
  model NAME
  config KEY VALUE        of config.json, flattened; what the heads are read from
  number KEY VALUE        of the GGUF metadata
  hf NAME DIMENSIONS
  gguf NAME DIMENSIONS SHA-256 of the values as little-endian float32, first 16 hexadecimal digits
  lora NAME DIMENSIONS SHA-256 of the same kind, of a factor of the adapter that convert_lora_to_gguf.py makes of one on every matrix: factors
                       of rank 3 whose elements are numbered too, A before B, tensor by tensor; absent where it fails
"""
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

SIZES = dict(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
EXPERTS = dict(num_experts=3, num_experts_per_tok=2, moe_intermediate_size=24)
OLD = dict(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)
T = transformers


def models():
    """Name, configuration and what to do with the tensors' names, for each model."""
    yield "llama", T.LlamaConfig(**SIZES), None
    yield "llama-biases", T.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True), None
    yield "mistral", T.MistralConfig(**SIZES, head_dim=8), None
    yield "mixtral", T.MixtralConfig(**SIZES, num_local_experts=3), None
    yield "arcee", T.ArceeConfig(**SIZES, head_dim=8), None
    yield "smollm3", T.SmolLM3Config(**SIZES), None
    yield "granite", T.GraniteConfig(**SIZES), None
    yield "granitemoe", T.GraniteMoeConfig(**SIZES, num_local_experts=3), None
    yield "granitemoe-shared", T.GraniteMoeSharedConfig(**SIZES, num_local_experts=3, shared_intermediate_size=16), None
    yield "qwen2", T.Qwen2Config(**SIZES), None
    yield "qwen2moe", T.Qwen2MoeConfig(**SIZES, **EXPERTS, shared_expert_intermediate_size=16), None
    yield "qwen3", T.Qwen3Config(**SIZES, head_dim=16), None
    yield "qwen3moe", T.Qwen3MoeConfig(**SIZES, **EXPERTS, head_dim=16), None
    yield "qwen3moe-fused", T.Qwen3MoeConfig(**SIZES, **EXPERTS, head_dim=16), fuse_experts
    yield "gemma", T.GemmaConfig(**SIZES, head_dim=8), None
    yield "gemma2", T.Gemma2Config(**SIZES, head_dim=8), None
    yield "gemma3", T.Gemma3TextConfig(**SIZES, head_dim=8), None
    yield "gemma3-multimodal", T.Gemma3TextConfig(**SIZES, head_dim=8), multimodal
    yield "nemotron", T.NemotronConfig(**SIZES, head_dim=8), None
    yield "phi2", T.PhiConfig(**{**SIZES, "num_key_value_heads": 4}), None
    yield "phi3", T.Phi3Config(**SIZES, original_max_position_embeddings=64), None
    yield "phimoe", T.PhimoeConfig(**SIZES, num_local_experts=3, original_max_position_embeddings=64, lm_head_bias=True, attention_bias=True), (
        with_settings(architectures=["PhiMoEForCausalLM"]))
    yield "gpt2", T.GPT2Config(**OLD), with_settings(n_ctx=64)
    yield "gpt2-bare", T.GPT2Config(**OLD), bare
    yield "starcoder", T.GPTBigCodeConfig(**OLD), None
    yield "starcoder2", T.Starcoder2Config(**SIZES), None
    yield "stablelm", T.StableLmConfig(**SIZES), None
    yield "stablelm-head-norms", T.StableLmConfig(**SIZES, qk_layernorm=True, use_parallel_residual=True), None
    yield "olmo", T.OlmoConfig(**SIZES), None
    yield "olmo2", T.Olmo2Config(**SIZES), None
    yield "olmoe", T.OlmoeConfig(**SIZES, num_experts=3, num_experts_per_tok=2), None
    yield "command-r", T.CohereConfig(**SIZES), None
    yield "command-r-head-norms", T.CohereConfig(**SIZES, use_qk_norm=True), None
    yield "cohere2", T.Cohere2Config(**SIZES, rotary_pct=1.0), None
    yield "internlm2", T.LlamaConfig(**SIZES), internlm2
    falcon = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=False, bias=False)
    yield "falcon", T.FalconConfig(**falcon, multi_query=True, new_decoder_architecture=False, num_kv_heads=1), None
    yield "falcon-two-norms", T.FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=2), None
    yield "falcon-one-norm", T.FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1), None
    yield "bloom", T.BloomConfig(vocab_size=40, hidden_size=32, n_layer=2, n_head=4), None
    yield "gptneox", T.GPTNeoXConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                                     max_position_embeddings=64), with_settings(rotary_pct=0.25)


def with_settings(**settings):
    """Settings as published checkpoints have them, where transformers writes others now."""
    def add(tensors, config):
        config.update(settings)
        return tensors
    return add


def bare(tensors, config):
    """The names of the published GPT-2."""
    config["n_ctx"] = 64
    return {name.removeprefix("transformer."): value for name, value in tensors.items()}


def fuse_experts(tensors, config):
    """Experts as transformers 5 holds them in memory, which newer checkpoints store."""
    fused = {name: value for name, value in tensors.items() if ".experts." not in name}
    for layer in range(2):
        prefix = f"model.layers.{layer}.mlp.experts."
        fused[prefix + "gate_up_proj"] = torch.stack([
            torch.cat([tensors[f"{prefix}{e}.gate_proj.weight"], tensors[f"{prefix}{e}.up_proj.weight"]]) for e in range(3)])
        fused[prefix + "down_proj"] = torch.stack([tensors[f"{prefix}{e}.down_proj.weight"] for e in range(3)])
    return fused


def multimodal(tensors, config):
    """The names of the published multimodal checkpoints; one tensor of the vision tower stands for all."""
    text = dict(config)
    config.clear()
    config.update(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=text,
                  vision_config=dict(hidden_size=8, num_hidden_layers=1, intermediate_size=8, num_attention_heads=1))
    named = {"language_model." + name: value for name, value in tensors.items()}
    named["vision_tower.vision_model.post_layernorm.weight"] = torch.zeros(8)
    return named


def internlm2(tensors, config):
    """The tensors of InternLM2, whose class is not in transformers."""
    config.update(architectures=["InternLM2ForCausalLM"], model_type="internlm2", bias=False)
    renamed = {}
    for name, value in tensors.items():
        for old, new in (("lm_head", "output"), ("embed_tokens", "tok_embeddings"), ("input_layernorm", "attention_norm"),
                         ("post_attention_layernorm", "ffn_norm"), ("self_attn.o_proj", "attention.wo"), ("mlp.gate_proj", "feed_forward.w1"),
                         ("mlp.up_proj", "feed_forward.w3"), ("mlp.down_proj", "feed_forward.w2")):
            name = name.replace(old, new)
        if "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            name, value = name.replace("self_attn.q_proj", "attention.wqkv"), torch.zeros(8 * 8, 32)
        renamed[name] = value
    return renamed


def architecture(config):
    """The class for causal language modelling."""
    return T.AutoModelForCausalLM._model_mapping[type(config)]


def make(folder, config, rename):
    torch.manual_seed(1)
    model = architecture(config)(config)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text())
    if rename is not None:
        tensors = rename(tensors, settings)
        (folder / "config.json").write_text(json.dumps(settings))
    first = 0
    for name in sorted(tensors):
        shape = tensors[name].shape
        count = tensors[name].numel()
        tensors[name] = torch.arange(first, first + count, dtype=torch.float32).reshape(shape)
        first += count
    assert first < 2 ** 23
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    vocabulary = {f"t{i}": i for i in range(36)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": []}))
    return tensors, settings


def convert(folder, output):
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    import gguf
    settings = json.loads((folder / "config.json").read_text()) | ModelBase.load_hparams(folder, False)
    converter = get_model_class(get_model_architecture(settings, ModelType.TEXT))

    class WithoutTokenizer(converter):
        model_arch = converter.model_arch
        head_norms = {}

        def set_vocab(self):
            self.gguf_writer.add_tokenizer_model("none")

        def modify_tensors(self, data_torch, name, bid):
            # At the commit above, StableLMModel returns a generator from a generator here, and the norms get lost.
            norms = re.search(r"([qk]_layernorm)\.norms\.", name)
            if norms is None:
                yield from super().modify_tensors(data_torch, name, bid)
                return
            seen = self.head_norms.setdefault((bid, norms[1]), {})
            seen[name] = data_torch
            if len(seen) == self.hparams["num_attention_heads" if norms[1][0] == "q" else "num_key_value_heads"]:
                yield from self._stack_qk_norm(bid, len(seen), seen, norms[1])

    with torch.inference_mode():
        WithoutTokenizer(folder, gguf.LlamaFileType.ALL_F32, output, eager=True, model_name="tiny", hparams=settings).write()
    return gguf.GGUFReader(output)


RANK = 3
EMBEDDINGS = ("embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "tok_embeddings")


def adapt(folder, tensors, embeddings, llama_cpp):
    """An adapter on every matrix, converted; None where the converter fails."""
    factors, first = {}, 0

    def numbers(*shape):
        nonlocal first
        first += shape[0] * shape[1]
        return torch.arange(first - shape[0] * shape[1], first, dtype=torch.float32).reshape(shape)

    for name in sorted(tensors):
        module = "base_model.model." + name.removesuffix(".weight")
        embedding = name.endswith(tuple(f"{e}.weight" for e in EMBEDDINGS))
        if not name.endswith(".weight") or tensors[name].ndim != 2 or embedding and not embeddings:
            continue
        out, columns = tensors[name].shape
        if embedding:
            factors[module + ".lora_embedding_A"], factors[module + ".lora_embedding_B"] = numbers(RANK, out), numbers(columns, RANK)
        else:
            factors[module + ".lora_A.weight"], factors[module + ".lora_B.weight"] = numbers(RANK, columns), numbers(out, RANK)
    adapter = folder.parent / "adapter"
    adapter.mkdir()
    save_file(factors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}))
    output = folder.parent / "adapter.gguf"
    script = [sys.executable, f"{llama_cpp}/convert_lora_to_gguf.py", "--base", folder, "--outtype", "f32", "--outfile", output, adapter]
    done = subprocess.run(script, capture_output=True, text=True)
    if done.returncode != 0:
        print("convert_lora_to_gguf.py:", done.stderr.strip().splitlines()[-1], flush=True)
        return None
    import gguf
    return gguf.GGUFReader(output)


def digested(kind, tensor):
    assert tensor.data.dtype == numpy.float32, tensor.name
    digest = hashlib.sha256(numpy.ascontiguousarray(tensor.data).tobytes()).hexdigest()[:16]
    return f"{kind} {tensor.name} {dimensions(reversed(tensor.shape))} {digest}"


def flattened(value, key=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flattened(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flattened(inner, f"{key}.{i}")
    else:
        yield key, json.dumps(value) if not isinstance(value, str) else value


def dimensions(shape):
    return ",".join(str(int(n)) for n in shape)


def main():
    sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "gguf-py"))
    sys.path.insert(0, sys.argv[1])
    lines = []
    for name, config, rename in models():
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) / "hf"
            tensors, settings = make(folder, config, rename)
            reader = convert(folder, pathlib.Path(temporary) / "model.gguf")
            lines.append(f"model {name}")
            for key, value in flattened(settings):
                if re.search(r"(^|\.)(architectures\.0|.*head.*|.*multi_query.*|new_decoder.*)$", key):
                    lines.append(f"config {key} {value}")
            for key, field in reader.fields.items():
                if key == "general.architecture" or ".attention.head_count" in key:
                    lines.append(f"number {key} {field.contents()}")
            lines += [f"hf {key} {dimensions(tensors[key].shape)}" for key in sorted(tensors)]
            lines += [digested("gguf", tensor) for tensor in reader.tensors]
            # Of GPT-2's transposed modules the converter transposes the product once more, so that it fits no model.
            adapter = None if name.startswith("gpt2") else adapt(folder, tensors, name == "llama", sys.argv[1])
            lines += [digested("lora", tensor) for tensor in adapter.tensors] if adapter else []
        print(name, flush=True)
    text = ("\n".join(lines) + "\n").encode()
    with open(sys.argv[2], "wb") as file:
        file.write(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main()
