"""Makes the adapters of other kinds than LoRA that portllm-io's tests compare with, in PEFT.

usage: golden_adapter_kinds.py SHARED OUT
  SHARED  the folder with adapters of each kind and their bases (peft)
  OUT     portllm-io/src/test/resources/golden

Writes OUT/adapters/NAME (adapters of forms that SHARED lacks, with the weights that merge_and_unload() changed), OUT/adapters/parts and
OUT/adapters/mixtral-fused (bases that SHARED lacks), OUT/torch-random.json (numbers of torch's generator) and, beside the library's sources,
wavelets.txt. Copies those of SHARED's adapters that the tests use, and their bases, to OUT/peft.

The same versions give the same bytes. Peak memory is 2 GB, for the longest permutation.
"""
import json
import pathlib
import shutil
import sys

import peft
import torch
from peft.tuners.waveft.constants import WAVELET_REDUCTIONS
from peft.tuners.waveft.wavelet import _WAVELET_COEFFS, Wavelet
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

COPIED = [
    "adalora", "c3a", "fourierft", "gralora", "ln_tuning", "loha", "lokr", "lokr_both", "lora_moe_params", "miss", "mixtral-base-1", "osf",
    "randlora", "shira", "vera", "waveft"]
WIDE = ["layers.0.self_attn.q_proj", "layers.1.self_attn.v_proj", "layers.0.mlp.gate_proj", "layers.0.mlp.down_proj"]
GPT2 = ["h.0.attn.c_attn", "h.0.mlp.c_fc"]


class Experts(torch.nn.Module):
    """Three experts; down_proj is a stack of square matrices, of which only gate_up_proj tells how they are stored."""

    def __init__(self, is_transposed):
        super().__init__()
        self.is_transposed = is_transposed
        self.gate_up_proj = torch.nn.Parameter(torch.randn((3, 6, 12) if is_transposed else (3, 12, 6)))
        self.down_proj = torch.nn.Parameter(torch.randn(3, 6, 6))


class Parts(torch.nn.Module):
    """What the models of SHARED lack: convolutions, experts, layers of odd sizes."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(6, 8, (3, 2))
        self.line = torch.nn.Conv1d(6, 10, 5)
        self.odd = torch.nn.Linear(9, 7)
        self.even = torch.nn.Linear(12, 25)
        self.turned = torch.nn.ModuleDict({"experts": Experts(True)})
        self.plain = torch.nn.ModuleDict({"experts": Experts(False)})


CASES = {
    "adalora-gpt2": ("gpt2-base-1", lambda: peft.AdaLoraConfig(init_r=3, target_r=2, lora_alpha=7, total_step=10, target_modules=GPT2,
        fan_in_fan_out=True)),
    "fourierft-gpt2": ("gpt2-base-1", lambda: peft.FourierFTConfig(n_frequency=50, scaling=100.0, target_modules=GPT2,
        fan_in_fan_out=True)),
    "fourierft-wide": ("llama-base-1", lambda: peft.FourierFTConfig(n_frequency=60, scaling=90.0, random_loc_seed=5, target_modules=WIDE,
        n_frequency_pattern={"v_proj": 9})),
    "gralora-gpt2": ("gpt2-base-1", lambda: peft.GraloraConfig(r=6, alpha=5, gralora_k=3, hybrid_r=2, target_modules=GPT2,
        fan_in_fan_out=True)),
    "gralora-hybrid": ("llama-base-1", lambda: peft.GraloraConfig(r=8, alpha=12, gralora_k=4, hybrid_r=3, target_modules=WIDE)),
    "lora-experts": ("parts", lambda: peft.LoraConfig(r=2, lora_alpha=6, target_modules=["odd"],
        target_parameters=["plain.experts.down_proj", "plain.experts.gate_up_proj"], rank_pattern={"experts.down_proj": 3},
        alpha_pattern={"gate_up_proj": 5})),
    "lora-experts-turned": ("parts", lambda: peft.LoraConfig(r=2, lora_alpha=6, use_rslora=True, target_modules=[],
        target_parameters=["turned.experts.gate_up_proj", "turned.experts.down_proj"])),
    "loha-conv": ("parts", lambda: peft.LoHaConfig(r=3, alpha=5, target_modules=["conv", "line"], use_effective_conv2d=True)),
    "loha-conv-flat": ("parts", lambda: peft.LoHaConfig(r=3, alpha=5, target_modules=["conv", "line"])),
    "lokr-conv": ("parts", lambda: peft.LoKrConfig(r=1, alpha=3, target_modules=["conv"], use_effective_conv2d=True)),
    "lokr-conv-flat": ("parts", lambda: peft.LoKrConfig(r=1, alpha=3, target_modules=["conv", "line"])),
    "lokr-conv-whole": ("parts", lambda: peft.LoKrConfig(r=9, alpha=3, target_modules=["conv"])),
    "lokr-factor": ("llama-base-1", lambda: peft.LoKrConfig(r=2, alpha=3, target_modules=WIDE, decompose_factor=4,
        rank_pattern={"q_proj": 3})),
    "miss-bat": ("llama-base-1", lambda: peft.MissConfig(r=8, init_weights="bat", target_modules=WIDE)),
    "miss-mini": ("llama-base-1", lambda: peft.MissConfig(r=7, mini_r=8, init_weights="mini", target_modules=WIDE)),
    "randlora-gpt2": ("gpt2-base-1", lambda: peft.RandLoraConfig(r=5, randlora_alpha=90, target_modules=GPT2, fan_in_fan_out=True,
        save_projection=False)),
    "randlora-seed": ("llama-base-1", lambda: peft.RandLoraConfig(r=6, randlora_alpha=90, target_modules=WIDE, save_projection=False,
        projection_prng_key=11)),
    "randlora-sparse": ("llama-base-1", lambda: peft.RandLoraConfig(r=8, randlora_alpha=90, target_modules=WIDE, save_projection=False,
        sparse=True)),
    "randlora-very-sparse": ("llama-base-1", lambda: peft.RandLoraConfig(r=8, randlora_alpha=90, target_modules=WIDE, save_projection=False,
        very_sparse=True)),
    "vera-gpt2": ("gpt2-base-1", lambda: peft.VeraConfig(r=6, target_modules=GPT2, fan_in_fan_out=True, save_projection=False,
        projection_prng_key=3)),
    "vera-seed": ("llama-base-1", lambda: peft.VeraConfig(r=6, target_modules=WIDE, save_projection=False, projection_prng_key=42)),
    "waveft-db3": ("llama-base-1", lambda: peft.WaveFTConfig(n_frequency=60, target_modules=WIDE, wavelet_family="db3", random_loc_seed=3)),
    "waveft-direct": ("llama-base-1", lambda: peft.WaveFTConfig(n_frequency=60, target_modules=WIDE, use_idwt=False)),
    "waveft-gpt2": ("gpt2-base-1", lambda: peft.WaveFTConfig(n_frequency=60, target_modules=GPT2, wavelet_family="sym2",
        fan_in_fan_out=True)),
    "waveft-proportional": ("parts", lambda: peft.WaveFTConfig(n_frequency=20, target_modules=["odd", "even"], wavelet_family="db2",
        proportional_parameters=True)),
}


def base_model(shared, name):
    if name == "parts":
        torch.manual_seed(1)
        return Parts()
    return AutoModelForCausalLM.from_pretrained(shared / name, dtype=torch.float32)


def weights(model):
    return {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}


def make(shared, out, name, base_name, config):
    before = weights(base_model(shared, base_name))
    torch.manual_seed(7)
    model = peft.get_peft_model(base_model(shared, base_name), config)
    for number, (_, parameter) in enumerate(sorted((n, p) for n, p in model.named_parameters() if p.requires_grad)):
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        parameter.data += 0.05 * noise
    model.save_pretrained(out / name)
    (out / name / "README.md").unlink(missing_ok=True)
    path = out / name / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = base_name
    settings["target_modules"] = sorted(settings["target_modules"])
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    # What is read is the file, so that is what is merged: PEFT, too, makes anew what was not saved.
    merged = weights(peft.PeftModel.from_pretrained(base_model(shared, base_name), out / name).merge_and_unload())
    changed = {tensor: value for tensor, value in merged.items() if tensor not in before or not torch.equal(value, before[tensor])}
    if not changed:
        raise SystemExit(f"{name} changes nothing")
    save_file(changed, out / name / "expected_merged.safetensors")


def uniform(seed, ranges):
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.empty(count).uniform_(start, end, generator=generator) for count, start, end in ranges]
    return {"seed": seed, "ranges": ranges, "bits": [values.view(torch.int32).tolist() for values in drawn]}


def bfloat16_uniform(seed, ranges):
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.empty(count, dtype=torch.bfloat16).uniform_(start, end, generator=generator) for count, start, end in ranges]
    return {"seed": seed, "ranges": ranges, "bits": [values.float().view(torch.int32).tolist() for values in drawn]}


def permutation(seed, n, count):
    return {"seed": seed, "n": n, "first": torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count].tolist()}


def random_numbers():
    return {
        "uniform": [
            uniform(0, [(5, -0.3, 0.3), (700, -1.7320508, 1.7320508)]),
            uniform(777, [(640, 0.0, 1.0)]),
            uniform(-5, [(3, -0.01, 0.01)]),
            uniform(2**40 + 3, [(9, -2.0, 5.0)]),
        ],
        "bfloat16": [bfloat16_uniform(0, [(300, -0.353, 0.353), (5, -1.7, 3.1)])],
        "permutations": [
            permutation(777, 300, 300),
            permutation(777, 1, 1),
            permutation(777, 2, 2),
            permutation(0, 2048, 64),
            permutation(3, 16777216, 32),
            permutation(777, 58720256, 16),
            permutation(777, 214748363, 16),
            permutation(777, 214748364, 16),
        ],
    }


def write_wavelets(path):
    lines = ["# Low-pass reconstruction filters, made by tools/golden_adapter_kinds.py. PEFT cannot use its coif5, whose length contradicts its padding."]
    for name in _WAVELET_COEFFS:
        filter_ = Wavelet(name).rec_lo
        if WAVELET_REDUCTIONS[name] == (len(filter_) - 2, len(filter_) - 2):
            lines.append(" ".join([name, *map(repr, filter_)]))
    path.write_text("\n".join(lines) + "\n")


def main():
    shared, out = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(out / "adapters", ignore_errors=True)
    for name, source in {"parts": "parts", "mixtral-fused": "mixtral-base-1"}.items():
        (out / "adapters" / name).mkdir(parents=True)
        save_file(weights(base_model(shared, source)), out / "adapters" / name / "model.safetensors")
    for name, (base_name, config) in CASES.items():
        make(shared, out / "adapters", name, base_name, config())
    for name in COPIED:
        shutil.copytree(shared / name, out / "peft" / name, dirs_exist_ok=True)
    (out / "torch-random.json").write_text(json.dumps(random_numbers()) + "\n")
    write_wavelets(pathlib.Path(__file__).parent.parent / "portllm-io/src/main/resources/io/portllm/io/internal/adapter/kind/wavelets.txt")


main()
