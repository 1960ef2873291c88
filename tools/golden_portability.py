"""Makes the golden figures of portability reports: norms, angles and conflicts of patch and update by torch in float64.

usage: golden_portability.py LAB OUT        (LAB the portability lab; OUT portllm-io/src/test/resources/golden/portability.json;
                                             made with torch 2.13)
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

LAB = pathlib.Path(sys.argv[1])


def model(name):
    return load_file(LAB / name / "model.safetensors")


def adapter(name):
    config = json.loads((LAB / name / "adapter_config.json").read_text())
    factors = load_file(LAB / name / "adapter_model.safetensors")
    scale = torch.tensor(config["lora_alpha"] / config["r"], dtype=torch.float32)
    changes = {}
    for key, right in factors.items():
        if ".lora_A." in key:
            left, right = factors[key.replace("lora_A", "lora_B")].float(), right.float()
            change = torch.zeros(left.shape[0], right.shape[1])
            for k in range(right.shape[0]):  # the library's order and type: float32, first k to last, nothing fused
                change = change + left[:, k : k + 1] * right[k]
            changes[key.replace("base_model.model.", "").replace(".lora_A", "")] = (change * scale).double()
    return changes


def figures(old, new, change):
    update = new - old
    found = {
        "oldNorm": old.norm(),
        "newNorm": new.norm(),
        "norm": update.norm(),
        "drift": update.norm() / old.norm(),
        "cosine": (old * new).sum() / (old.norm() * new.norm()),
    }
    if change is not None:
        conflict = change * update < 0
        both = change * update != 0
        found |= {
            "changeNorm": change.norm(),
            "ratio": change.norm() / update.norm(),
            "changeCosine": (change * update).sum() / (change.norm() * update.norm()),
            "signConflicts": conflict.double().sum() / both.sum(),
            "weightedSignConflicts": change.abs()[conflict].sum() / change.abs()[both].sum(),
        }
        if old.dim() == 2:
            found |= {
                "inputDrift": (update @ change.T).norm() / (old @ change.T).norm(),
                "outputDrift": (change.T @ update).norm() / (change.T @ old).norm(),
            }
    return {name: float(value) for name, value in found.items()}


def flat(tensors, names):
    return torch.cat([tensors[name].flatten() for name in names])


def products(old, new, change, names):
    names = [name for name in names if old[name].dim() == 2]
    root = lambda values: sum(values) ** 0.5
    square = lambda matrix: float(matrix.pow(2).sum())
    update = {name: new[name] - old[name] for name in names}
    return {
        "inputDrift": root(square(update[n] @ change[n].T) for n in names) / root(square(old[n] @ change[n].T) for n in names),
        "outputDrift": root(square(change[n].T @ update[n]) for n in names) / root(square(change[n].T @ old[n]) for n in names),
    }


def main():
    old = model("v1")
    golden = {}
    for patch, onto in (("climbs-lora", "v2"), ("climbs-full", "v3"), ("climbs-lora", "independent")):
        new = {name: tensor.double() for name, tensor in model(onto).items()}
        wide = {name: tensor.double() for name, tensor in old.items()}
        if patch.endswith("-lora"):
            change = adapter(patch)
        else:  # the difference is taken in float32
            change = {name: (tensor.float() - old[name].float()).double() for name, tensor in model(patch).items()}
        names = sorted(change)
        golden[f"{patch} on {onto}"] = {
            "tensors": {name: figures(wide[name], new[name], change.get(name)) for name in sorted(wide)},
            "patched": figures(flat(wide, names), flat(new, names), flat(change, names)) | products(wide, new, change, names),
            "total": figures(flat(wide, sorted(wide)), flat(new, sorted(wide)), None),
        }
    pathlib.Path(sys.argv[2]).write_text(json.dumps(golden, indent=1) + "\n")


main()
