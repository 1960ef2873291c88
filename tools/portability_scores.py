"""Compares figures without data that a portability score could be made of: how each orders the lab's bases, and how well any could.

usage: portability_scores.py LAB DRIFTS TABLES     (DRIFTS made by synthetic_drifts.py; TABLES docs/concepts/portability.md, whose tables have the
                                                   accuracies; needs torch, scipy and safetensors)

Figures are taken by torch in float64 over the matrices that a patch changes; the library estimates spread and products by sketches.
"""
import itertools
import json
import pathlib
import re
import sys

import numpy
import torch
from safetensors.torch import load_file
from scipy.stats import rankdata, spearmanr

LAB, DRIFTS, TABLES = map(pathlib.Path, sys.argv[1:4])
STORED = ["v1", "v2", "v3", "v4", "v2-lora", "v2-hot", "independent"]
TASKS = ["climbs", "summit", "backward", "revinc"]
PATCHES = [task + "-lora" for task in TASKS] + ["climbs-full"]


def model(folder):
    return {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}


def changes(patch, old):
    if patch == "climbs-full":
        return {name: tensor - old[name] for name, tensor in model(LAB / patch).items() if tensor.dim() == 2}
    config = json.loads((LAB / patch / "adapter_config.json").read_text())
    factors = {name: tensor.double() for name, tensor in load_file(LAB / patch / "adapter_model.safetensors").items()}
    scale = config["lora_alpha"] / config["r"]
    return {
        name.replace("base_model.model.", "").replace(".lora_A", ""): factors[name.replace("lora_A", "lora_B")] @ right * scale
        for name, right in factors.items()
        if ".lora_A." in name
    }


def accuracies():
    found = {}
    for line in TABLES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in PATCHES and len(cells) == 9 and cells[1] in STORED:
            found[cells[0], cells[1]] = float(cells[3])
        elif "@" in cells[0] and len(cells) == 7:
            found |= {(task + "-lora", cells[0]): float(value) for task, value in zip(TASKS, cells[3:])}
    return found


def root(parts, wholes):
    return float(sum(parts) / sum(wholes)) ** 0.5


def figures(old, new, change):
    update = {name: new[name] - old[name] for name in change}
    square = lambda matrix: matrix.pow(2).sum()
    singular = {name: torch.linalg.svdvals(update[name]) ** 2 for name in change}
    size = [square(old[name]) for name in change]
    whole = sum(square(matrix) for matrix in change.values())
    part = {name: square(change[name]) / whole for name in change}
    drift = {name: square(update[name]) / square(old[name]) for name in change}
    lead = {name: torch.linalg.svd(change[name], full_matrices=False) for name in change}
    reads = {name: lead[name].Vh[:8].T for name in change}
    writes = {name: lead[name].U[:, :8] for name in change}
    found = {
        "drift": root((square(update[n]) for n in change), size),
        "drift, by where the patch is": float(sum(part[n] * drift[n] for n in change)) ** 0.5,
        "greatest drift of a matrix": float(max(drift.values())) ** 0.5,
        "update against patch": root((square(update[n]) for n in change), [whole]),
        "update in the patch's spaces, against it": root((square(writes[n].T @ update[n] @ reads[n]) for n in change), [whole]),
        "conflict -(U, patch) / |patch|^2": -float(sum((update[n] * change[n]).sum() for n in change) / whole),
        "drift on the space of inputs": root((square(update[n] @ reads[n]) for n in change), (square(old[n] @ reads[n]) for n in change)),
        "drift on the space of outputs": root((square(writes[n].T @ update[n]) for n in change), (square(writes[n].T @ old[n]) for n in change)),
        "input drift": root((square(update[n] @ change[n].T) for n in change), (square(old[n] @ change[n].T) for n in change)),
        "output drift": root((square(change[n].T @ update[n]) for n in change), (square(change[n].T @ old[n]) for n in change)),
        "largest singular value": root((singular[n][0] for n in change), (torch.linalg.svdvals(old[n])[0] ** 2 for n in change)),
        "spread": root((singular[n][8:].sum() for n in change), size),
    }
    found["score: spread, inputs and outputs"] = (found["spread"] * (found["input drift"] * found["output drift"]) ** 0.5) ** 0.5
    found["spread and drift"] = (found["spread"] * found["drift"]) ** 0.5
    layers = {}
    for name in change:
        layers.setdefault(int((re.search(r"\d+", name) or re.search(r"\d*", "4")).group() or 4), []).append(name)
    found["drift accumulated over layers"] = sum(
        root((square(update[n]) for n in names), (square(old[n]) for n in names))
        * float(sum(part[n] for later in layers if later >= layer for n in layers[later])) ** 0.5
        for layer, names in layers.items()
    )
    for name, of in (("embedding drift", ["model.embed_tokens.weight"]), ("norm drift", [n for n in old if old[n].dim() == 1])):
        found[name] = root((square(new[n] - old[n]) for n in of), (square(old[n]) for n in of))
    found["drift of attention's products QK"] = attention(old, new)
    return found


def attention(old, new):
    moved = whole = 0
    for layer, head in itertools.product(range(4), range(4)):
        queries, keys = (f"model.layers.{layer}.self_attn.{name}_proj.weight" for name in "qk")
        rows, shared = slice(32 * head, 32 * head + 32), slice(32 * (head // 2), 32 * (head // 2) + 32)
        before, after = (weights[queries][rows].T @ weights[keys][shared] for weights in (old, new))
        moved, whole = moved + (after - before).pow(2).sum(), whole + before.pow(2).sum()
    return float(moved / whole) ** 0.5


def ceilings(accuracy):
    """The best rank correlations of any order of the stored bases, by trying all."""
    ranks = {patch: rankdata([accuracy[patch, base] for base in STORED]) for patch in PATCHES}
    correlation = lambda order, patch: numpy.corrcoef(order, ranks[patch])[0, 1]
    orders = [dict(zip(STORED, order)) for order in itertools.permutations(range(len(STORED)))]
    told = [
        order
        for order in orders
        if order["v1"] == 6 and order["independent"] == 0 and order["v2-hot"] < min(order[base] for base in ("v2", "v3", "v4", "v2-lora"))
    ]
    falling = [order for order in told if order["v2"] > order["v3"] > order["v4"]]
    print("\nmost that any order reaches on the seven stored bases:", ", ".join(PATCHES))
    for name, allowed in (("v2-hot below the other updates", told), ("and falling along v2, v3, v4", falling)):
        print(f"  {name}:", *(f"{max(correlation(list(order.values()), patch) for order in allowed):.2f}" for patch in PATCHES))
    lora = PATCHES[:4]
    least = max(min(correlation(list(order.values()), patch) for patch in lora) for order in orders)
    print(f"  one order for all four LoRA patches, the least of their correlations: {least:.2f}")


def main():
    accuracy = accuracies()
    folders = {base: LAB / base for base in STORED} | {folder.name: folder for folder in sorted(DRIFTS.iterdir())}
    torch.set_num_threads(1)  # the matrices are small
    old = model(LAB / "v1")
    bases = {base: model(folder) for base, folder in folders.items()}
    table = {}
    for patch in PATCHES:
        change = changes(patch, old)
        for base, new in bases.items():
            if (patch, base) in accuracy:
                table[patch, base] = figures(old, new, change)
    print("rank correlations with accuracy, on the seven stored bases (", ", ".join(PATCHES), ") and on those and the synthetic drifts")
    for figure in next(iter(table.values())):
        cells = []
        for ordered, patches in ((STORED, PATCHES), (list(folders), PATCHES[:4])):
            for patch in patches:
                pairs = [(-table[patch, base][figure], accuracy[patch, base]) for base in ordered]
                cells.append(f"{spearmanr(*zip(*pairs))[0]:5.2f}")
        print(f"  {figure:42s}", *cells[: len(PATCHES)], " | ", *cells[len(PATCHES) :])
    ceilings(accuracy)


main()
