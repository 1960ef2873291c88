"""Makes bases that drifted from the lab's v1 in known ways, to see what portability figures say of drifts that no training made.

usage: synthetic_drifts.py LAB OUT        (then LabMain table LAB OUT; needs torch and safetensors)

OUT/A@T is v1 + T (A - v1): between v1 and an update for T < 1, past it for T > 1. OUT/noise@R is v1 with normal noise of R times the norm of each matrix;
OUT/noise-rank16@R the same with noise of rank 16. All in bfloat16, as v1 is.
"""
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

LAB, OUT = map(pathlib.Path, sys.argv[1:3])
STEPS = {
    "v2": (1.5, 2),
    "v4": (0.5, 1.5),
    "v2-lora": (0.5, 1.5, 2),
    "v2-hot": (0.25, 0.5, 0.75),
    "independent": (0.05, 0.1, 0.2, 0.4),
}


def load(name):
    return {key: tensor.double() for key, tensor in load_file(LAB / name / "model.safetensors").items()}


def save(name, tensors):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(LAB / "v1" / file, folder / file)
    tensors = {key: tensor.to(torch.bfloat16).contiguous() for key, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def noise(base, size, rank=None):
    generator = torch.Generator().manual_seed(7)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    moved = {}
    for key, tensor in base.items():
        if tensor.dim() == 1:
            moved[key] = tensor
            continue
        rows, columns = tensor.shape
        step = random(rows, columns) if rank is None else random(rows, rank) @ random(rank, columns)
        moved[key] = tensor + step * (size * tensor.norm() / step.norm())
    return moved


def main():
    v1 = load("v1")
    for name, steps in STEPS.items():
        other = load(name)
        for step in steps:
            save(f"{name}@{step}", {key: v1[key] + step * (other[key] - v1[key]) for key in v1})
    for size in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
        save(f"noise@{size}", noise(v1, size))
    for size in (0.1, 0.2, 0.4):
        save(f"noise-rank16@{size}", noise(v1, size, 16))


main()
