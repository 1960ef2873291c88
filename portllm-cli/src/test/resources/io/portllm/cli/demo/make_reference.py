"""Makes the reference logits of this folder with transformers, in float64.

python make_reference.py LAB

LAB holds the lab's models. Writes float64-logits.json (the last token's logits of the lab's bases for the prompt of logits.json) and
small random models that differ from the lab's in type, head sizes and settings: tiny-f16 (embeddings tied, one key-value head, settings
written as transformers 4 does) and tiny-f32. Seen with torch 2.13, transformers 5.18.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
LAB = pathlib.Path(sys.argv[1])
TINY_IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3]


def last_logits(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].tolist()


def tiny(name, dtype, legacy, **settings):
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                         max_position_embeddings=32, rms_norm_eps=1e-4, rope_theta=500.0, eos_token_id=[18, 19], **settings)
    model = LlamaForCausalLM(config)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    tensors = {}
    for key, value in model.state_dict().items():
        if config.tie_word_embeddings and key == "lm_head.weight":
            continue
        tensors[key] = (torch.randn(value.shape) * 0.4 + (1 if value.dim() == 1 else 0)).to(dtype).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = config.to_dict()
    written["architectures"] = ["LlamaForCausalLM"]
    if legacy:
        written["rope_theta"] = written.pop("rope_parameters")["rope_theta"]
        written["rope_scaling"] = None
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    (folder / "float64-logits.json").write_text(json.dumps({"ids": TINY_IDS, "logits": last_logits(folder, TINY_IDS)}) + "\n")


prompt = json.loads((LAB / "logits.json").read_text())
bases = {base: last_logits(LAB / base, prompt["ids"]) for base in ("v1", "v2", "v3", "independent")}
(HERE / "float64-logits.json").write_text(json.dumps(bases) + "\n")
tiny("tiny-f16", torch.float16, True, num_key_value_heads=1, head_dim=6, tie_word_embeddings=True)
tiny("tiny-f32", torch.float32, False, num_key_value_heads=2, head_dim=4, tie_word_embeddings=False)
