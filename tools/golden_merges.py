#!/usr/bin/env python3
"""Cuts the golden merges down to a few tensors, for the tests of portllm-io.

usage: golden_merges.py SHARED_GOLDEN_MERGE OUT

SHARED_GOLDEN_MERGE has a base, three fine-tunes of it, two LoRA adapters and what mergekit and PEFT make of them (its README says how).
Every method but TIES over a whole patch works on each tensor by itself, so a few tensors test as much as all.
"""

import json
import pathlib
import shutil
import sys

from safetensors.numpy import load_file, save_file

TENSORS = [
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.k_proj.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.norm.weight",
]
EXPECTED = [
    "breadcrumbs-g.01-d.9-formula",
    "breadcrumbs_ties-g.01-d.9-formula",
    "dare_linear-d.5-moments",
    "dare_ties-d.5-moments",
    "dare_ties-d1",
    "della-d.5-e.15-moments",
    "della-d1",
    "della_linear-d.5-e.15-moments",
    "linear-w1_.7_.4-norm1",
    "model_stock",
    "model_stock-filter_wise",
    "nuslerp-w.6_.4-base-ft1_ft2",
    "nuslerp-w.6_.4-base-rows-ft1_ft2",
    "peft-cat",
    "peft-magnitude_prune_svd",
    "peft-svd",
    "peft-ties_svd",
    "sce-topk0.5",
    "sce-topk1",
    "task_arithmetic-lambda0.7",
    "task_arithmetic-lambda1",
    "ties-d0.01-norm1",
    "ties-d0.3-norm0",
    "ties-d0.3-norm1",
    "ties-d0.5-norm0",
    "ties-d0.5-norm1",
]


def cut(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value
        for name, value in load_file(source).items()
        if name in TENSORS or name.rsplit(".", 1)[0] in TENSORS
    }
    save_file(tensors, target, metadata={"format": "pt"})


def main(source, out):
    for model in ["base", "ft1", "ft2", "ft3"]:
        cut(source / model / "model.safetensors", out / model / "model.safetensors")
    for name in EXPECTED:
        cut(source / "expected" / f"{name}.safetensors", out / "expected" / f"{name}.safetensors")
    for adapter in ["lora_a", "lora_b"]:
        (out / adapter).mkdir(parents=True, exist_ok=True)
        for file in ["adapter_config.json", "adapter_model.safetensors"]:
            shutil.copyfile(source / adapter / file, out / adapter / file)
    print(json.dumps({"tensors": TENSORS, "files": len(EXPECTED)}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
