"""Ports of a model with other tools' arithmetic, to be timed. The paths are folders with safetensors files.

usage: peer_port.py torch-full FINE_TUNED BASE ONTO OUT     torch, file by file in float32, rounded once
       peer_port.py torch-lora ADAPTER ONTO OUT             the same with the product of a LoRA's factors
       peer_port.py peft ADAPTER ONTO OUT                   transformers and PEFT: merge_and_unload, save_pretrained
       peer_port.py versions                                what is installed
"""
import json
import pathlib
import sys


def torch_full(fine_tuned, base, onto, out):
    from safetensors import safe_open
    from safetensors.torch import save_file
    for file in sorted(pathlib.Path(onto).glob("*.safetensors")):
        with safe_open(file, "pt") as weights, safe_open(fine_tuned / file.name, "pt") as tuned, safe_open(base / file.name, "pt") as old:
            ported = {}
            for name in weights.keys():
                weight = weights.get_tensor(name)
                change = tuned.get_tensor(name).float() - old.get_tensor(name).float()
                ported[name] = (weight.float() + change).to(weight.dtype)
        save_file(ported, out / file.name, {"format": "pt"})


def torch_lora(adapter, onto, out):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    factors = load_file(adapter / "adapter_model.safetensors")
    for file in sorted(pathlib.Path(onto).glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            ported = {}
            for name in weights.keys():
                weight = weights.get_tensor(name)
                module = "base_model.model." + name.removesuffix(".weight")
                if module + ".lora_A.weight" in factors:
                    change = factors[module + ".lora_B.weight"].float() @ factors[module + ".lora_A.weight"].float()
                    weight = (weight.float() + scale * change).to(weight.dtype)
                ported[name] = weight
        save_file(ported, out / file.name, {"format": "pt"})


def peft(adapter, onto, out):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(onto, dtype=torch.bfloat16)
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)


def versions():
    import importlib.metadata
    import platform
    found = [f"Python {platform.python_version()}"]
    for name in ("torch", "safetensors", "transformers", "peft"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    print(", ".join(found))


if __name__ == "__main__":
    what, *paths = sys.argv[1:] or [""]
    work = {"torch-full": (torch_full, 4), "torch-lora": (torch_lora, 3), "peft": (peft, 3), "versions": (versions, 0)}.get(what)
    if work is None or len(paths) != work[1]:
        sys.exit(__doc__)
    if paths:
        pathlib.Path(paths[-1]).mkdir(parents=True)
    work[0](*map(pathlib.Path, paths))
