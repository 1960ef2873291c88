"""Ports patches onto quantised GGUF models with the command and compares every block with dequantise + change + quantise.

usage: check_gguf_port.py JAR [GGML [SCRATCH]]

Makes a small Llama checkpoint and a fine-tune of it (BF16), converts the checkpoint to a GGUF file of each type with gguf's writer (rows of
queries and keys permuted as llama.cpp's converter does), ports the fine-tune and a LoRA adapter onto it, and computes what the file must then hold:
gguf's dequantise, plus the change in float32, quantised again; blocks whose values did not change as they were. Types that gguf cannot quantise
are quantised by the reference code of GGML, a checkout of ggml, as fuzz_gguf_quants.py compiles it; without it they are left out. Then compares a port of the adapter with what PEFT merges. Needs numpy, torch, transformers, peft, safetensors and gguf 0.19.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from fuzz_gguf_quants import reference
from gguf import GGMLQuantizationType as Q
from safetensors.torch import load_file, save_file

HIDDEN, HEADS, KV, FFN, VOCABULARY, LAYERS = 512, 8, 4, 768, 320, 2
WITH_GGUF = [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.TQ1_0, Q.TQ2_0, Q.MXFP4]
WITH_LIBRARY = [Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_NL, Q.IQ4_XS, Q.NVFP4]
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
for layer in range(LAYERS):
    for theirs, ours in {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }.items():
        NAMES[f"model.layers.{layer}.{theirs}.weight"] = f"blk.{layer}.{ours}.weight"


class Library:
    """ggml's quantisers."""

    def __init__(self, ggml, folder):
        types = [(kind.name, None, *gguf.GGML_QUANT_SIZES[kind]) for kind in WITH_LIBRARY]
        self.library = reference(Path(ggml), types, folder, ["-O2", "-march=x86-64", "-ffp-contract=off"])

    def quantise(self, values, type):
        rows, columns = values.reshape(-1, values.shape[-1]).shape
        block, size = gguf.GGML_QUANT_SIZES[type]
        blocks = np.empty((rows, columns // block * size), np.uint8)
        function = getattr(self.library, "quantize_" + type.name.lower().replace("_k", "_K"))
        function.restype = ctypes.c_size_t
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        values = np.ascontiguousarray(values, np.float32)
        function(values.ctypes.data, blocks.ctypes.data, rows, columns, None)
        return blocks


def quantise(values, type, library):
    if type in WITH_GGUF:
        return gguf.quantize(values, type)
    return library.quantise(values, type).reshape(*values.shape[:-1], -1)


def permute(values, heads):
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def converted(name, values):
    """A tensor of the checkpoint in the order of the GGUF file."""
    if name.endswith("q_proj.weight"):
        return permute(values, HEADS)
    return permute(values, KV) if name.endswith("k_proj.weight") else values


def stored_type(name, type):
    return Q.F32 if name.endswith("norm.weight") else type


def write_gguf(path, tensors, type, library):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    for name, values in tensors.items():
        kind = stored_type(name, type)
        writer.add_tensor(NAMES[name], quantise(converted(name, values), kind, library), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def expected(name, base, change, type, library):
    """What a tensor of the ported file must hold: its bytes."""
    before = gguf.dequantize(base, type).astype(np.float32)
    after = (before + converted(name, change)).astype(np.float32)
    if name.endswith("norm.weight"):
        # Widened from BF16 by the conversion, and so rounded to it again.
        after = torch.from_numpy(after).to(torch.bfloat16).float().numpy()
    after = np.where(converted(name, change) == 0, before, after)
    result = quantise(after, type, library)
    size = gguf.GGML_QUANT_SIZES[type][1]
    old, new = base.view(np.uint8).reshape(-1, size), result.view(np.uint8).reshape(-1, size)
    elements = gguf.GGML_QUANT_SIZES[type][0]
    same = (before.view(np.uint32) == after.view(np.uint32)).reshape(-1, elements).all(axis=1)
    return np.where(same[:, None], old, new)


def run(*arguments):
    result = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    return result.stdout


def compare(path, original, changes, type, library):
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    bases = {tensor.name: tensor for tensor in gguf.GGUFReader(original).tensors}
    blocks = 0
    for name, change in changes.items():
        kind = stored_type(name, type)
        base = bases[NAMES[name]]
        want = expected(name, np.asarray(base.data), change, kind, library)
        have = np.asarray(found[NAMES[name]].data).view(np.uint8).reshape(want.shape)
        wrong = int((want != have).any(axis=1).sum())
        if wrong:
            sys.exit(f"{type.name}: {wrong} of {len(want)} blocks of {name} differ")
        blocks += len(want)
    return blocks


def lora(folder, base, generator):
    """An adapter of the attention and the MLP, and the changes that it makes, in float32."""
    folder.mkdir()
    factors, changes = {}, {}
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    for name, values in base.items():
        if any(name.endswith(f"{module}.weight") for module in modules):
            stem = "base_model.model." + name[: -len(".weight")]
            b = torch.randn(values.shape[0], 8, generator=generator) * 0.02
            a = torch.randn(8, values.shape[1], generator=generator) * 0.02
            factors[stem + ".lora_A.weight"], factors[stem + ".lora_B.weight"] = a, b
            product = np.zeros(values.shape, np.float32)
            for k in range(8):
                product += b[:, k : k + 1].numpy() * a[k : k + 1].numpy()
            changes[name] = product * np.float32(2)
        else:
            changes[name] = np.zeros(values.shape, np.float32)
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": modules, "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return changes


def check_peft(jar, scratch, base, adapter, library):
    """The port of an adapter onto a BF16 file, beside what PEFT merges into the checkpoint in float32, rounded once."""
    from peft import PeftModel
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV,
        vocab_size=VOCABULARY, tie_word_embeddings=False)
    model = LlamaForCausalLM(config).float()
    model.load_state_dict({name: torch.from_numpy(values) for name, values in base.items()})
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    original, ported = scratch / "peft-base.gguf", scratch / "peft-ported.gguf"
    write_gguf(original, base, Q.BF16, library)
    run("java", "-jar", jar, "apply", adapter, "--to", original, "-o", ported, "--force")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(ported).tensors}
    worst = 0
    for name, ours in NAMES.items():
        want = torch.from_numpy(converted(name, merged[name].float().numpy())).to(torch.bfloat16).float().numpy()
        have = gguf.dequantize(np.asarray(found[ours].data), found[ours].tensor_type)
        # In units of the last place of BF16: values that PEFT's product puts on the other side of a tie differ by one.
        units = np.abs(have - want) / 2.0 ** (np.floor(np.log2(np.maximum(np.abs(want), 1e-30))) - 7)
        worst = max(worst, float(units.max()))
    if worst > 1:
        sys.exit(f"PEFT's merge differs by {worst} units in the last place")
    print(f"PEFT: within {worst:.2f} units in the last place of BF16")


def main():
    jar = sys.argv[1]
    scratch = Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())
    library = Library(sys.argv[2], scratch) if len(sys.argv) > 2 else None
    generator = torch.Generator().manual_seed(7)
    shapes = {}
    for name in NAMES:
        if "norm" in name:
            shapes[name] = (HIDDEN,)
        elif "k_proj" in name or "v_proj" in name:
            shapes[name] = (HIDDEN // HEADS * KV, HIDDEN)
        elif "gate" in name or "up_proj" in name:
            shapes[name] = (FFN, HIDDEN)
        elif "down" in name:
            shapes[name] = (HIDDEN, FFN)
        else:
            shapes[name] = (VOCABULARY, HIDDEN) if "layers" not in name else (HIDDEN, HIDDEN)
    base = {name: (torch.randn(shape, generator=generator) * 0.05).to(torch.bfloat16) for name, shape in shapes.items()}
    tuned = {name: (v.float() + torch.randn(v.shape, generator=generator) * 0.004).to(torch.bfloat16) for name, v in base.items()}
    # Rows and a tensor without change: their blocks must stay as they are.
    tuned["model.layers.0.mlp.up_proj.weight"] = base["model.layers.0.mlp.up_proj.weight"].clone()
    tuned["model.layers.1.self_attn.q_proj.weight"][16:48] = base["model.layers.1.self_attn.q_proj.weight"][16:48]
    folders = {}
    for kind, tensors in {"base": base, "tuned": tuned}.items():
        folders[kind] = scratch / kind
        folders[kind].mkdir(exist_ok=True)
        save_file(tensors, folders[kind] / "model.safetensors", metadata={"format": "pt"})
        (folders[kind] / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}))
    as_float = {name: values.float().numpy() for name, values in base.items()}
    changes = {name: tuned[name].float().numpy() - as_float[name] for name in base}
    of_adapter = lora(scratch / "adapter", as_float, generator)
    check_peft(jar, scratch, as_float, scratch / "adapter", library)
    for type in WITH_GGUF + (WITH_LIBRARY if library else []):
        original = scratch / f"{type.name}.gguf"
        write_gguf(original, as_float, type, library)
        total = 0
        report = {}
        # Ternary types hold next to nothing of weights that are normally distributed.
        proof = [] if type in (Q.TQ1_0, Q.TQ2_0) else ["--proof", folders["base"]]
        for label, patch, wanted in [
            ("full", ["--fine-tuned", folders["tuned"]], changes),
            ("lora", ["--adapter", scratch / "adapter"], of_adapter),
        ]:
            ported = scratch / f"{type.name}-{label}.gguf"
            out = run("java", "-jar", jar, "port", *patch, "--base", folders["base"], "--onto", original, "-o", ported, "--json", "--force", *proof)
            total += compare(ported, original, wanted, type, library)
            report[label] = json.loads(out).get("requantisation")
        kept = "".join(f", {label}: {100 * r['kept']:.1f} % kept, error {r['errorNorm'] / r['changeNorm']:.3g}" for label, r in report.items() if r)
        print(f"{type.name}: {total} blocks as expected{kept}", flush=True)


main()
