"""The arithmetic of a port, in torch, and a comparison of a ported model with it, byte for byte.

The rules are those of Merger's Javadoc in portllm-core:
  * operands are widened to float32, or all to float64 if the new base is F64, and nothing is fused;
  * the change is factor * (fine-tuned - base), where the difference of F64 values is taken in float64 whatever follows, or
    factor * sum over k of B[:, k] * A[k, :], added up from the first k to the last;
  * new base + change is rounded once, to nearest even, into the new base's type;
  * where the change is zero, or the new base's weight is NaN or infinite, the new base's bits are kept. Plain addition would turn
    -0.0 + 0.0 into 0.0 and may quieten a NaN.

usage: reference_port.py (--fine-tuned DIR --base DIR | --adapter DIR) --onto DIR [--scale S] --ported DIR
Exit code 1 if a tensor of the ported model differs.
"""
import argparse
import json
import pathlib
import sys

import torch
from safetensors import safe_open

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor):
    """The tensor's elements as integers of the same size."""
    return tensor.contiguous().view(BITS[tensor.element_size()])


def arithmetic(dtype):
    """The type that ports onto this type are computed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def add(new_base, change):
    """new_base + change, rounded once; new_base's bits where there is nothing to add or nothing to add to."""
    widened = new_base.to(arithmetic(new_base.dtype))
    assert change.dtype == widened.dtype
    rounded = (widened + change).to(new_base.dtype)
    keep = (change == 0) | ~torch.isfinite(widened)
    return torch.where(keep, bits(new_base), bits(rounded)).view(new_base.dtype)


def full_change(tuned, base, factor, wide):
    if tuned.dtype == torch.float64 or base.dtype == torch.float64:
        difference = (tuned.double() - base.double()).to(wide)
    else:
        difference = tuned.to(wide) - base.to(wide)
    return torch.tensor(factor, dtype=wide) * difference


def lora_change(b, a, factor, wide):
    # One product and one sum for each k: a matrix product would add up in another order, or fuse.
    total = torch.zeros(b.shape[0], a.shape[1], dtype=wide)
    for k in range(a.shape[0]):
        product = b[:, k].to(wide)[:, None] * a[k, :].to(wide)[None, :]
        total = total + product
    return torch.tensor(factor, dtype=wide) * total


class Folder:
    """The tensors of a model or adapter folder, single file or shards, read one at a time."""

    def __init__(self, path):
        files = sorted(pathlib.Path(path).glob("*.safetensors"))
        if not files:
            sys.exit(f"{path}: no .safetensors file")
        self.files = [safe_open(file, "pt") for file in files]
        self.where = {name: file for file in self.files for name in file.keys()}

    def __getitem__(self, name):
        return self.where[name].get_tensor(name)

    def keys(self):
        return self.where.keys()


def lora_factor(adapter_folder, scale):
    config = json.loads((pathlib.Path(adapter_folder) / "adapter_config.json").read_text())
    plain = not (config.get("use_rslora") or config.get("use_dora") or config.get("rank_pattern") or config.get("alpha_pattern"))
    if config["peft_type"] != "LORA" or not plain:
        sys.exit(f"{adapter_folder}: only plain LoRA here")
    return scale * (config["lora_alpha"] / config["r"])


def port_full(new_base, tuned, base, scale):
    for name in new_base.keys():
        onto = new_base[name]
        yield name, add(onto, full_change(tuned[name], base[name], scale, arithmetic(onto.dtype)))


def port_lora(new_base, adapter, factor):
    prefix, end = "base_model.model.", ".weight"
    used = 0
    for name in new_base.keys():
        module, onto = prefix + name.removesuffix(end), new_base[name]
        if module + ".lora_A.weight" in adapter.keys():
            used += 2
            b, a = adapter[module + ".lora_B.weight"], adapter[module + ".lora_A.weight"]
            onto = add(onto, lora_change(b, a, factor, arithmetic(onto.dtype)))
        yield name, onto
    if used != len(adapter.keys()):
        sys.exit(f"{len(adapter.keys()) - used} tensors of the adapter belong to no tensor of the model")


def main():
    parser = argparse.ArgumentParser(description="Compares a ported model with torch, byte for byte.")
    parser.add_argument("--fine-tuned")
    parser.add_argument("--base")
    parser.add_argument("--adapter")
    parser.add_argument("--onto", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--ported", required=True)
    given = parser.parse_args()
    new_base, ported = Folder(given.onto), Folder(given.ported)
    if given.adapter:
        expected = port_lora(new_base, Folder(given.adapter), lora_factor(given.adapter, given.scale))
    else:
        expected = port_full(new_base, Folder(given.fine_tuned), Folder(given.base), given.scale)
    if new_base.keys() != ported.keys():
        sys.exit("the ported model has other tensors than the new base")
    tensors = weights = wrong = changed = 0
    for name, want in expected:
        got = ported[name]
        if got.dtype != want.dtype or got.shape != want.shape:
            sys.exit(f"{name}: {got.dtype} {list(got.shape)} instead of {want.dtype} {list(want.shape)}")
        differing = int((bits(got) != bits(want)).sum())
        if differing:
            print(f"{name}: {differing} of {want.numel()} weights differ")
        tensors, weights, wrong = tensors + 1, weights + want.numel(), wrong + differing
        changed += int((bits(want) != bits(new_base[name])).sum())
    print(f"torch {torch.__version__}: {tensors} tensors, {weights} weights, {changed} other than the new base's, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
