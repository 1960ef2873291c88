"""Decodes compressed patch files with numpy, from docs/reference/patch-file.md alone, and compares with what the command applies.

usage: check_lossy.py JAR FINE_TUNED BASE [SCRATCH]

For each kind of compression: writes the patch with the command, applies it with the command to a model of F32 zeros and to BASE, and
asserts that both have, bit for bit, what the decoded patch gives (the sum with BASE in float32, rounded once by torch), and that the
error that the command states is the one there is. Needs numpy, torch and safetensors.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

BLOCK = 32768
KINDS = [
    ["--bits", "8"],
    ["--bits", "4"],
    ["--bits", "3"],
    ["--bits", "2"],
    ["--bits", "1"],
    ["--bits", "1", "--compress", "*"],
    ["--bands", "2:8,8:3,16:2"],
    ["--bands", "5:4,20:1", "--group", "row"],
    ["--density", "0.02"],
    ["--density", "0.3"],
    ["--density", "0.1", "--rescale"],
    ["--density", "0.1", "--bits", "8"],
    ["--density", "0.1", "--rescale", "--bits", "4"],
    ["--density", "0.05", "--bits", "1"],
]


def codes_of(packed, bits, columns):
    """Rows of packed bytes as rows of whole numbers."""
    all_bits = np.unpackbits(packed, axis=1, bitorder="little")
    fields = all_bits[:, : columns * bits].reshape(packed.shape[0], columns, bits).astype(np.int64)
    whole = (fields << np.arange(bits)).sum(axis=2)
    if bits < 4:
        return 2 * whole + 1 - (1 << bits)
    return np.where(whole >= 1 << (bits - 1), whole - (1 << bits), whole)


def quantised(codes, scales, bits, group, shape):
    rows, columns = (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))
    per_weight = np.repeat(scales, columns if group == 0 else min(group, columns), axis=1)[:, :columns]
    return (per_weight * codes_of(codes, bits, columns)[:rows].astype(np.float32)).astype(np.float32).reshape(shape)


def positions_of(stored, offsets, coding, count):
    if coding == "bitmap":
        return np.flatnonzero(np.unpackbits(stored, bitorder="little")[:count])
    found = []
    for block in range(len(offsets) - 1):
        at = block * BLOCK
        for gap in stored[offsets[block][1] : offsets[block + 1][1]].tolist():
            at += gap
            if gap < 255:
                found.append(at)
                at += 1
    return np.array(found, dtype=np.int64)


def decode(term, shape, part):
    """The change of one term, without its factor."""
    kind = term["kind"]
    if kind == "quantised-low-rank":
        a, b = (
            quantised(part(name + ".codes").numpy(), part(name + ".scales").numpy(), term["bits"], term["group"], [term["rank"], length])
            for name, length in (("lora_A", math.prod(shape[1:])), ("lora_B", shape[0]))
        )
        change = np.zeros((shape[0], math.prod(shape[1:])), dtype=np.float32)
        for left, right in zip(b, a):
            change += np.outer(left, right)
        return (change * np.float32(term["scale"])).reshape(shape)
    if kind == "dense":
        return part("delta").to(torch.float32).numpy()
    if kind == "quantised":
        return quantised(part("codes").numpy(), part("scales").numpy(), term["bits"], term["group"], term["shape"])
    if kind == "sparse":
        count = math.prod(term["shape"])
        positions = positions_of(part("positions").numpy(), part("offsets").numpy(), term["positions"], count)
        if "bits" in term:
            values = quantised(part("codes").numpy(), part("scales").numpy(), term["bits"], term["group"], [len(positions)])
        else:
            values = part("delta").to(torch.float32).numpy()
        assert len(values) == len(positions)
        change = np.zeros(count, dtype=np.float32)
        change[positions] = values
        return change.reshape(term["shape"])
    raise ValueError(kind)


def changes(patch):
    with safe_open(patch, "pt") as file:
        for name, entry in json.loads(file.metadata()["portllm.deltas"]).items():
            total = np.zeros(entry["shape"], dtype=np.float32)
            for number, term in enumerate(entry["terms"]):
                change = decode(term, entry["shape"], lambda part: file.get_tensor(f"{name}.{number}.{part}"))
                total += change * np.float32(term["factor"])
            yield name, total


def main():
    jar, tuned, base = sys.argv[1:4]
    with tempfile.TemporaryDirectory(dir=sys.argv[4] if len(sys.argv) > 4 else None) as folder:
        scratch = Path(folder)

        def run(*arguments):
            return subprocess.run(["java", "-jar", jar, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

        base_weights = load_file(Path(base) / "model.safetensors")
        tuned_weights = load_file(Path(tuned) / "model.safetensors")
        zeros = scratch / "zeros.safetensors"
        save_file({name: torch.zeros(weight.shape, dtype=torch.float32) for name, weight in base_weights.items()}, zeros)
        for kind in KINDS:
            patch = scratch / "p.patch.safetensors"
            report = json.loads(run("diff", "--fine-tuned", tuned, "--base", base, "-o", patch, "--force", "--json", *kind))
            on_zeros, on_base = scratch / "on-zeros.safetensors", scratch / "on-base"
            run("apply", patch, "--to", zeros, "-o", on_zeros, "--force")
            run("apply", patch, "--to", base, "-o", on_base, "--force")
            alone, ported = load_file(on_zeros), load_file(on_base / "model.safetensors")
            squares = lost = 0.0
            seen = set()
            for name, change in changes(patch):
                seen.add(name)
                # A change of -0 leaves the zero of the base as it is.
                assert torch.equal((torch.from_numpy(change) + 0.0).view(torch.int32), alone[name].view(torch.int32)), (kind, name)
                weight = base_weights[name]
                merged = (weight.to(torch.float32) + torch.from_numpy(change)).to(weight.dtype)
                same = torch.from_numpy(change) == 0
                merged = torch.where(same, weight, merged)
                assert torch.equal(merged.view(torch.uint8), ported[name].view(torch.uint8)), (kind, name)
                exact = (tuned_weights[name].to(torch.float32) - weight.to(torch.float32)).numpy().astype(np.float64)
                squares += (exact**2).sum()
                lost += ((exact - change.astype(np.float64)) ** 2).sum()
            for name in base_weights.keys() - seen:
                assert torch.equal(base_weights[name].view(torch.uint8), ported[name].view(torch.uint8)), (kind, name)
            error = math.sqrt(lost / squares)
            assert abs(error - report["relativeError"]) <= 1e-12 * max(1, error), (kind, error, report["relativeError"])
            print(f"{' '.join(kind):40} {patch.stat().st_size:10d} bytes  error {error:.6f}  same bits")


if __name__ == "__main__":
    main()
