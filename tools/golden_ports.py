"""Makes the golden ports that portllm-io's tests compare with, in torch.

usage: golden_ports.py LAB OUT
  LAB  the folder with the portability lab's models
  OUT  portllm-io/src/test/resources/golden

Writes OUT/ports/CASE (small models of awkward weights and what they port to), OUT/lab-digests.json (SHA-256 of each tensor's bytes in
the ports of the lab's two climbs patches) and OUT/versions.json. The same versions give the same bytes.

The rules of the arithmetic, in particular where the new base's bits are kept, are in reference_port.py.
"""
import hashlib
import json
import math
import pathlib
import platform
import sys

import safetensors
import torch
from safetensors.torch import save_file

from reference_port import BITS, Folder, arithmetic, bits, full_change, lora_change, lora_factor, port_full, port_lora

# Odd sizes, so that no tensor fills whole vectors.
HIDDEN, KV, INTERMEDIATE, VOCABULARY, RANK, ALPHA = 18, 9, 25, 29, 3, 5
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
    "mlp.up_proj": (INTERMEDIATE, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
}
SHAPES = {
    "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
    **{f"model.layers.0.{module}.weight": shape for module, shape in LINEAR.items()},
    "model.layers.0.input_layernorm.weight": (HIDDEN,),
    "model.layers.0.post_attention_layernorm.weight": (HIDDEN,),
    "model.norm.weight": (HIDDEN,),
    "lm_head.weight": (VOCABULARY, HIDDEN),
}
# case: type of the old models, of the new base, of the LoRA factors
CASES = {
    "bf16": (torch.bfloat16, torch.bfloat16, torch.float32),
    "bf16-onto-f32": (torch.bfloat16, torch.float32, torch.bfloat16),
    "f16": (torch.float16, torch.float16, torch.float16),
    "f32": (torch.float32, torch.float32, torch.float32),
    "f64": (torch.float64, torch.float64, torch.float32),
    "f64-onto-f32": (torch.float64, torch.float32, torch.float64),
    "f8_e4m3": (torch.float8_e4m3fn, torch.float8_e4m3fn, torch.bfloat16),
    "f8_e5m2": (torch.float8_e5m2, torch.float8_e5m2, torch.float32),
}
SCALES = (1.0, 0.75)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "model_type": "llama",
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
    "vocab_size": VOCABULARY,
}
ADAPTER_CONFIG = {
    "base_model_name_or_path": "base",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_alpha": ALPHA,
    "peft_type": "LORA",
    "r": RANK,
    "target_modules": sorted(module.split(".")[1] for module in LINEAR),
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
}


class Values:
    """Awkward values of one type, from one seeded generator."""

    def __init__(self, dtype, seed):
        self.dtype = dtype
        self.random = torch.Generator().manual_seed(seed)
        info = torch.finfo(dtype)
        self.largest, self.epsilon, self.tiny = info.max, info.eps, info.smallest_normal

    def cast(self, values):
        return values.to(self.dtype)

    def uniform(self, n, low, high):
        return low + (high - low) * torch.rand(n, generator=self.random, dtype=torch.float64)

    def normal(self, n, deviation):
        return deviation * torch.randn(n, generator=self.random, dtype=torch.float64)

    def sign(self, n):
        return torch.randint(0, 2, (n,), generator=self.random).double() * 2 - 1

    def patterns(self, n):
        """Any bits at all: every exponent is as likely as another, NaN and infinity included."""
        size = self.cast(torch.zeros(1)).element_size()
        octets = torch.randint(0, 256, (n * size,), generator=self.random).to(torch.uint8)
        return octets.view(BITS[size]).view(self.dtype)

    def finite_patterns(self, n):
        values = self.patterns(n)
        return torch.where(torch.isfinite(values.double()), bits(values), bits(self.cast(torch.ones(n)))).view(self.dtype)

    def subnormals(self, n):
        return self.cast(self.uniform(n, -1, 1) * self.tiny)

    def powers(self, n, low, high):
        return torch.exp2(torch.randint(low, high + 1, (n,), generator=self.random).double())


def awkward(n, old, new):
    """Triples (base, fine-tuned, new base) of n weights; old and new give values of the types before and after."""
    zeros = torch.zeros(n, dtype=torch.float64)
    base = old.cast(old.normal(n, 0.5))
    power = new.powers(n, -3, 2)
    mantissa = new.cast(new.sign(n) * power * (1 + new.uniform(n, 0, 1)))
    # The new base's unit in the last place is epsilon * the power of two below it.
    half = new.epsilon / 2 * torch.exp2(torch.floor(torch.log2(mantissa.double().abs())))
    kinds = [
        # An ordinary update.
        (base, old.cast(base.double() + old.normal(n, 0.05)), new.cast(base.double() + new.normal(n, 0.1))),
        # No change.
        (base, base, new.cast(new.normal(n, 0.5))),
        # A change that mostly vanishes in the new base.
        (old.cast(zeros), old.cast(old.normal(n, 0.1) * half), new.cast(mantissa.double())),
        # Exactly half a unit in the last place: a tie, to even.
        (old.cast(zeros), old.cast(old.sign(n) * half), mantissa),
        (old.cast(half), old.cast(half * 2), mantissa),
        # A little more or less than the tie.
        (old.cast(zeros), old.cast(half * (1 + old.sign(n) * 2 * old.epsilon)), mantissa),
        # Subnormal weights.
        (old.subnormals(n), old.subnormals(n), new.subnormals(n)),
        # The edge between subnormal and normal.
        (old.subnormals(n), old.subnormals(n), new.cast(new.sign(n) * new.tiny)),
        # Signed zeros, with and without a change.
        (base, base, new.cast(new.sign(n) * 0.0)),
        (old.cast(old.sign(n) * 0.0), old.cast(old.sign(n) * 0.0), new.cast(new.sign(n) * 0.0)),
        (old.subnormals(n), old.subnormals(n), new.cast(new.sign(n) * 0.0)),
        # Changes that cancel the new base.
        (base, old.cast(zeros), new.cast(base.double())),
        # Near the largest value, some of them rounding back from above it.
        (old.cast(zeros), old.cast(old.uniform(n, -0.49, 0.49) * min(new.largest * new.epsilon / 2, old.largest)),
         new.cast(new.sign(n) * new.largest)),
        (old.cast(zeros), old.cast(old.uniform(n, -0.5, 0.5) * min(new.largest, old.largest)),
         new.cast(new.uniform(n, -0.5, 0.5) * new.largest)),
        # Any finite bits.
        (old.finite_patterns(n), old.finite_patterns(n), new.finite_patterns(n)),
        (old.finite_patterns(n), old.finite_patterns(n), new.finite_patterns(n)),
        # Any bits, in the new base alone and in all three.
        (base, old.cast(base.double() + 0.25), new.patterns(n)),
    ]
    not_finite = new.patterns(n)
    not_finite = torch.where(torch.isfinite(not_finite.double()), bits(new.cast(zeros / 0)), bits(not_finite)).view(new.dtype)
    kinds.append((base, old.cast(base.double() + 0.25), not_finite))
    kinds.append((old.cast(zeros / 0), old.cast(zeros / 0), not_finite))
    pick = torch.randint(0, len(kinds), (n,), generator=old.random)
    each = torch.arange(n)
    return [torch.stack([bits(kind[part]) for kind in kinds])[pick, each].view(values.dtype)
            for part, values in ((0, old), (1, old), (2, new))]


def refused(new_base, change):
    """Where a finite weight would leave the type's range: a port refuses that, so no golden may have it."""
    total = new_base.to(change.dtype) + change
    # torch casts to float8_e4m3fn with saturation. 464 is half way from the largest value, 448, to what would be the next.
    fits = total.abs() <= 464 if new_base.dtype == torch.float8_e4m3fn else torch.isfinite(total.to(new_base.dtype).double())
    return torch.isfinite(new_base.double()) & ~fits


def only_where(condition, chosen, otherwise):
    return torch.where(condition, bits(chosen), bits(otherwise)).view(otherwise.dtype)


def trio(old, new):
    base, tuned, onto = {}, {}, {}
    for name, shape in SHAPES.items():
        b, f, n = awkward(math.prod(shape), old, new)
        for scale in SCALES:
            bad = refused(n, full_change(f, b, scale, arithmetic(n.dtype)))
            f = only_where(bad, b, f)
            # What is left is a NaN in the old models over a finite new base.
            bad = refused(n, full_change(f, b, scale, arithmetic(n.dtype)))
            b, f = only_where(bad, old.cast(torch.zeros(b.shape)), b), only_where(bad, old.cast(torch.zeros(b.shape)), f)
        base[name], tuned[name], onto[name] = b.reshape(shape), f.reshape(shape), n.reshape(shape)
    return base, tuned, onto


def adapter(onto, factors):
    """Factors whose products span the new base's magnitudes: rows of zeros, of signed zeros, tiny ones and large ones."""
    tensors = {}
    for module, (rows, columns) in LINEAR.items():
        name = f"model.layers.0.{module}"
        b = factors.normal(rows * RANK, 0.3).reshape(rows, RANK)
        b[0], b[1], b[2] = 0, -0.0, b[2] * 1e-6
        b[3] = b[3] * 64
        a = factors.normal(RANK * columns, 0.3).reshape(RANK, columns)
        a[:, 4] = torch.tensor([1.0, -1.0, 0.5])
        b, a = factors.cast(b), factors.cast(a)
        for scale in SCALES:
            weight = onto[name + ".weight"]
            change = lora_change(b, a, scale * (ALPHA / RANK), arithmetic(weight.dtype))
            b[refused(weight, change).any(1)] = 0
        tensors[f"base_model.model.{name}.lora_A.weight"], tensors[f"base_model.model.{name}.lora_B.weight"] = a, b
    return tensors


def write_folder(folder, tensors, config_name, config, file_name):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / config_name).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file_name)


def expect(folder, name, onto, ported):
    ported = dict(ported)
    changed = sum(int((bits(values) != bits(onto[tensor])).sum()) for tensor, values in ported.items())
    print(f"{folder.name:14} {name:22} {changed:5} of {sum(t.numel() for t in onto.values())} weights change")
    save_file(ported, folder / name)


def make_cases(out):
    for number, (case, (before, after, factor_type)) in enumerate(CASES.items()):
        folder = out / case
        old, new, factors = (Values(dtype, 100 * number + i) for i, dtype in enumerate((before, after, factor_type)))
        base, tuned, onto = trio(old, new)
        lora = adapter(onto, factors)
        for name, tensors in (("base", base), ("fine-tuned", tuned), ("new-base", onto)):
            write_folder(folder / name, tensors, "config.json", CONFIG, "model.safetensors")
        write_folder(folder / "adapter", lora, "adapter_config.json", ADAPTER_CONFIG, "adapter_model.safetensors")
        for scale in SCALES:
            expect(folder, f"full-{scale}.safetensors", onto, port_full(onto, tuned, base, scale))
            # Both factors are float64 values whose product is rounded to the arithmetic's type once.
            expect(folder, f"lora-{scale}.safetensors", onto, port_lora(onto, lora, scale * (ALPHA / RANK)))


def digest(tensor):
    return hashlib.sha256(bits(tensor).numpy().tobytes()).hexdigest()


def digests(ported):
    return {name: digest(tensor) for name, tensor in sorted(dict(ported).items())}


def lab_digests(lab):
    names = ("v1", "v2", "v3", "independent", "climbs-full")
    models = {name: Folder(lab / name) for name in names}
    adapter_tensors, factor = Folder(lab / "climbs-lora"), lora_factor(lab / "climbs-lora", 1.0)
    found = {}
    for label, dtype in (("BF16", torch.bfloat16), ("F16", torch.float16), ("F32", torch.float32)):
        converted = {name: {t: model[t].to(dtype) for t in model.keys()} for name, model in models.items()}
        found[label] = {
            "inputs": {name: digests(tensors) for name, tensors in converted.items()},
            "climbs-lora": {onto: digests(port_lora(converted[onto], adapter_tensors, factor)) for onto in names[1:4]},
            "climbs-full": {
                onto: digests(port_full(converted[onto], converted["climbs-full"], converted["v1"], 1.0)) for onto in names[1:4]},
        }
    return found


def check_casts():
    """torch's casts to the 8- and 16-bit types give the nearest value, of two the one with an even last bit."""
    random = torch.Generator().manual_seed(7)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16):
        size = torch.finfo(dtype).bits // 8
        positive = torch.arange(2 ** (8 * size - 1)).to(BITS[size]).view(dtype).double()
        positive = positive[torch.isfinite(positive)]
        middle = (positive[1:] + positive[:-1]) / 2
        places = torch.randint(0, len(middle), (20000,), generator=random)
        middle = middle[places].float()
        for values, expected in ((middle, places + places % 2), (torch.nextafter(middle, torch.tensor(0.0)), places),
                                 (torch.nextafter(middle, torch.tensor(math.inf)), places + 1)):
            assert (bits(values.to(dtype)).long() == expected).all(), f"torch does not round to nearest even into {dtype}"


def main():
    lab, out = map(pathlib.Path, sys.argv[1:])
    check_casts()
    make_cases(out / "ports")
    (out / "lab-digests.json").write_text(json.dumps(lab_digests(lab), indent=1) + "\n")
    versions = {"python": platform.python_version(), "safetensors": safetensors.__version__, "torch": torch.__version__}
    (out / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    print(versions)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with torch.inference_mode():
        main()
