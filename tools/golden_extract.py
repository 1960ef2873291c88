"""Makes the golden files of low-rank extraction: a base, a fine-tuned model, and the singular values of their differences by torch.

usage: golden_extract.py FOLDER        (portllm-io/src/test/resources/golden/extract; made with torch 2.13)
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file


def decaying(rows, columns, power, generator):
    left = torch.linalg.qr(torch.randn(rows, rows, dtype=torch.float64, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(columns, columns, dtype=torch.float64, generator=generator))[0]
    count = min(rows, columns)
    values = 0.05 / torch.arange(1, count + 1, dtype=torch.float64) ** power
    return left[:, :count] * values @ right[:count]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)

    def noise(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    changes = {
        "slow.weight": (torch.bfloat16, decaying(64, 48, 0.5, generator)),
        "fast.weight": (torch.float32, decaying(40, 72, 1.5, generator)),
        "flat.weight": (torch.float16, 0.01 * noise(56, 56)),
        "thin.weight": (torch.float32, noise(90, 3) @ noise(3, 30) * 0.01),
        "conv.weight": (torch.bfloat16, decaying(24, 54, 1, generator).reshape(24, 6, 3, 3)),
        "same.weight": (torch.bfloat16, torch.zeros(16, 16, dtype=torch.float64)),
    }
    base = {name: (0.1 * noise(*change.shape)).to(dtype) for name, (dtype, change) in changes.items()}
    tuned = {name: (base[name].double() + change).to(dtype) for name, (dtype, change) in changes.items()}
    spectra = {}
    for name in changes:
        difference = (tuned[name].float() - base[name].float()).double().flatten(1)
        spectra[name] = torch.linalg.svdvals(difference).tolist()
    save_file(base, folder / "base.safetensors")
    save_file(tuned, folder / "tuned.safetensors")
    (folder / "spectra.json").write_text(json.dumps(spectra, indent=1) + "\n")


if __name__ == "__main__":
    main()
